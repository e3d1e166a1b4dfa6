//! The messages of the next write; see `micro/_wire/outbox.py`.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard};

use natsmicro_wire::push_number;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyTuple};

use crate::known;

/// Bytes of payloads in one portion; see `micro/_wire/congestion.py`.
const PORTION: usize = 1 << 20;

/// Bytes from which messages are refused, and of those that never are; see there.
const MAX_UNSENT: usize = 24 << 20;
const SMALL: usize = 1 << 10;

/// Messages of a turn after which some leave at once; see `micro/_wire/fast_transport.py`.
const MANY: usize = 128;

/// Bytes of a subject that fits in a control line; see `micro/_wire/outbox.py`.
const MAX_TARGET: usize = 4096 - b"12345678 12345678 ".len();

/// Bytes of a write from which it is handed over without a copy.
const LARGE: usize = 16 << 10;

/// The messages of one write.
#[derive(Default)]
struct Load {
    bytes: Vec<u8>,
    count: usize,
    payload_bytes: usize,
}

impl Load {
    fn add(&mut self, target: &[u8], reply: &[u8], block: &[u8], payload: &[u8]) {
        let bytes = &mut self.bytes;
        bytes.reserve(target.len() + reply.len() + block.len() + payload.len() + 64);
        bytes.extend_from_slice(if block.is_empty() { b"PUB " } else { b"HPUB " });
        bytes.extend_from_slice(target);
        if !reply.is_empty() {
            bytes.push(b' ');
            bytes.extend_from_slice(reply);
        }
        if !block.is_empty() {
            bytes.push(b' ');
            push_number(bytes, block.len() as u64);
        }
        bytes.push(b' ');
        push_number(bytes, (block.len() + payload.len()) as u64);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(block);
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
        self.count += 1;
        self.payload_bytes += payload.len();
    }
}

/// The bytes of a write; Python sees them as a memoryview.
#[pyclass(frozen, module = "natsmicro_native")]
struct Frames {
    bytes: Vec<u8>,
}

#[pymethods]
impl Frames {
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().bytes;
        let (start, size) = (bytes.as_ptr().cast_mut().cast(), bytes.len() as ffi::Py_ssize_t);
        // SAFETY: the bytes live as long as this object, to which the view refers, and never change.
        match unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, size, 1, flags) } {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}

#[derive(Default)]
struct State {
    /// Each but the last has more than one portion.
    loads: VecDeque<Load>,
    /// The size of the latest write.
    expected: usize,
    room: i64,
    turn: i64,
    count: usize,
    payload_bytes: usize,
}

impl State {
    fn add(&mut self, target: &[u8], reply: &[u8], block: &[u8], data: &Bound<'_, PyBytes>) {
        if self.loads.back().is_none_or(|load| load.bytes.len() > PORTION) {
            let bytes = Vec::with_capacity(self.expected);
            self.loads.push_back(Load { bytes, ..Default::default() });
        }
        if let Some(load) = self.loads.back_mut() {
            load.add(target, reply, block, data.as_bytes());
        }
        self.count += 1;
        self.payload_bytes += data.as_bytes().len();
    }
}

#[pyclass(frozen, module = "natsmicro_native")]
pub struct Outbox {
    state: Mutex<State>,
    send: Py<PyAny>,
    relieve: Py<PyAny>,
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds an answer that needs no checks; returns false for any other one.
    pub fn push(&self, subject: &[u8], block: &[u8], data: &Bound<'_, PyBytes>) -> PyResult<bool> {
        let mut state = self.state();
        let usual = !matches!(subject.first(), None | Some(b'$')) && subject.len() <= MAX_TARGET;
        if !usual || (block.len() + data.as_bytes().len()) as i64 > state.room {
            return Ok(false);
        }
        state.add(subject, b"", block, data);
        let relieve = state.payload_bytes > PORTION;
        drop(state);
        if relieve {
            self.relieve.call0(data.py())?;
        }
        Ok(true)
    }

    /// Returns whether messages may be added without a question to the path.
    pub fn is_open(&self) -> bool {
        self.state().turn >= 0
    }

    /// Adds a message of this turn that needs no checks; returns false for any other one.
    pub fn publish(
        &self,
        subject: &[u8],
        reply: &[u8],
        block: &[u8],
        data: &Bound<'_, PyBytes>,
    ) -> PyResult<bool> {
        let mut state = self.state();
        let size = block.len() + data.as_bytes().len();
        let much = state.payload_bytes + size > MAX_UNSENT && size > SMALL;
        if much || size as i64 > state.turn || subject.len() + 1 + reply.len() > MAX_TARGET {
            return Ok(false);
        }
        state.add(subject, reply, block, data);
        let many = state.room < 0 && state.count.is_multiple_of(MANY);
        let relieve = many || state.payload_bytes > PORTION;
        drop(state);
        if relieve {
            self.relieve.call0(data.py())?;
        }
        Ok(true)
    }
}

#[pymethods]
impl Outbox {
    #[new]
    fn new(send: Py<PyAny>, relieve: Py<PyAny>) -> Self {
        Outbox {
            state: Mutex::new(State { room: -1, turn: -1, ..Default::default() }),
            send,
            relieve,
        }
    }

    #[getter]
    fn room(&self) -> i64 {
        self.state().room
    }

    #[setter(room)]
    fn set_room(&self, size: i64) {
        self.state().room = size;
    }

    #[getter]
    fn turn(&self) -> i64 {
        self.state().turn
    }

    #[setter(turn)]
    fn set_turn(&self, size: i64) {
        self.state().turn = size;
    }

    #[getter]
    fn payload_bytes(&self) -> usize {
        self.state().payload_bytes
    }

    fn __len__(&self) -> usize {
        self.state().count
    }

    #[pyo3(signature = (subject, data, headers=None))]
    fn reply(
        &self,
        subject: &Bound<'_, PyBytes>,
        data: &Bound<'_, PyAny>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = subject.py();
        let name = subject.as_bytes();
        let size = data.len()? as i64; // first, as in Python: a wrong type is an error in any case
        if name.is_empty() {
            return Ok(());
        }
        if name[0] == b'$' {
            return Err(PyErr::from_value(known::SERVERS_SUBJECT.get(py)?.call1((subject,))?));
        }
        let plain = match headers {
            Some(headers) => !headers.is_truthy()?,
            None => true,
        };
        let fits = size <= self.room() && name.len() <= MAX_TARGET;
        if plain && fits && self.push(name, b"", &as_bytes(data)?)? {
            return Ok(());
        }
        self.send.call1(py, (subject, data, headers)).map(drop)
    }

    fn add(
        &self,
        target: &Bound<'_, PyBytes>,
        block: &Bound<'_, PyBytes>,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let data = as_bytes(data)?;
        self.state().add(target.as_bytes(), b"", block.as_bytes(), &data);
        Ok(())
    }

    fn take<'py>(&self, before: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, usize, usize)> {
        let py = before.py();
        let mut state = self.state();
        let mut load = state.loads.pop_front().unwrap_or_default();
        state.count -= load.count;
        state.payload_bytes -= load.payload_bytes;
        state.expected = load.bytes.len().min(2 * PORTION);
        drop(state);
        let mut first = Vec::new();
        for bytes in before.try_iter()? {
            first.extend_from_slice(bytes?.cast::<PyBytes>()?.as_bytes());
        }
        if !first.is_empty() {
            load.bytes.splice(..0, first);
        }
        let bytes = if load.bytes.len() < LARGE {
            PyBytes::new(py, &load.bytes).into_any()
        } else {
            let frames = Bound::new(py, Frames { bytes: load.bytes })?;
            PyMemoryView::from(&frames)?.into_any()
        };
        Ok((bytes, load.count, load.payload_bytes))
    }

    fn clear(&self) {
        let mut state = self.state();
        *state = State { room: state.room, turn: state.turn, ..Default::default() };
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.send)?;
        visit.call(&self.relieve)
    }
}

/// Returns a payload as bytes, with the conversion and the errors of `b"%b" % data`.
fn as_bytes<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let arguments = PyTuple::new(data.py(), [data])?;
    let form = PyBytes::new(data.py(), b"%b");
    let bytes = form.call_method1(intern!(data.py(), "__mod__"), (arguments,))?;
    Ok(bytes.cast_into::<PyBytes>()?)
}

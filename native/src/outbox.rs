//! The messages of the next write; see `micro/_wire/outbox.py`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use natsmicro_wire::push_number;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

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

/// Bytes from which a payload is not copied into the outbox.
const LARGE: usize = 8 << 10;

enum Part {
    Bytes(Vec<u8>),
    Payload(Py<PyBytes>),
}

/// The messages of one write.
#[derive(Default)]
struct Load {
    parts: Vec<Part>,
    size: usize,
    count: usize,
    payload_bytes: usize,
}

impl Load {
    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.parts.last(), Some(Part::Bytes(_))) {
            self.parts.push(Part::Bytes(Vec::new()));
        }
        match self.parts.last_mut() {
            Some(Part::Bytes(bytes)) => bytes,
            _ => unreachable!("it has just been added"),
        }
    }

    fn add(&mut self, target: &[u8], reply: &[u8], block: &[u8], data: &Bound<'_, PyBytes>) {
        let payload = data.as_bytes();
        let tail = self.tail();
        let before = tail.len();
        tail.reserve(target.len() + reply.len() + block.len() + payload.len().min(LARGE) + 64);
        tail.extend_from_slice(if block.is_empty() { b"PUB " } else { b"HPUB " });
        tail.extend_from_slice(target);
        if !reply.is_empty() {
            tail.push(b' ');
            tail.extend_from_slice(reply);
        }
        if !block.is_empty() {
            tail.push(b' ');
            push_number(tail, block.len() as u64);
        }
        tail.push(b' ');
        push_number(tail, (block.len() + payload.len()) as u64);
        tail.extend_from_slice(b"\r\n");
        tail.extend_from_slice(block);
        if payload.len() < LARGE {
            tail.extend_from_slice(payload);
            tail.extend_from_slice(b"\r\n");
            self.size += tail.len() - before;
        } else {
            self.size += tail.len() - before + payload.len() + 2;
            self.parts.push(Part::Payload(data.clone().unbind()));
            self.tail().extend_from_slice(b"\r\n");
        }
        self.count += 1;
        self.payload_bytes += payload.len();
    }
}

#[derive(Default)]
struct State {
    /// Each but the last has more than one portion.
    loads: VecDeque<Load>,
    room: i64,
    turn: i64,
    count: usize,
    payload_bytes: usize,
}

impl State {
    fn add(&mut self, target: &[u8], reply: &[u8], block: &[u8], data: &Bound<'_, PyBytes>) {
        if self.loads.back().is_none_or(|load| load.size > PORTION) {
            self.loads.push_back(Load::default());
        }
        if let Some(load) = self.loads.back_mut() {
            load.add(target, reply, block, data);
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
    pub fn push(&self, subject: &[u8], data: &Bound<'_, PyBytes>) -> PyResult<bool> {
        let mut state = self.state();
        let usual = !matches!(subject.first(), None | Some(b'$')) && subject.len() <= MAX_TARGET;
        if !usual || data.as_bytes().len() as i64 > state.room {
            return Ok(false);
        }
        state.add(subject, b"", b"", data);
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
        if plain && fits && self.push(name, &as_bytes(data)?)? {
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

    fn take<'py>(
        &self,
        before: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyBytes>, usize, usize)> {
        let py = before.py();
        let mut first = Vec::new();
        for bytes in before.try_iter()? {
            first.extend_from_slice(bytes?.cast::<PyBytes>()?.as_bytes());
        }
        let mut state = self.state();
        let load = state.loads.pop_front().unwrap_or_default();
        state.count -= load.count;
        state.payload_bytes -= load.payload_bytes;
        drop(state);
        let bytes = PyBytes::new_with(py, first.len() + load.size, |mut target: &mut [u8]| {
            let mut put = |source: &[u8]| {
                let (place, rest) = std::mem::take(&mut target).split_at_mut(source.len());
                place.copy_from_slice(source);
                target = rest;
            };
            put(&first);
            for part in &load.parts {
                match part {
                    Part::Bytes(bytes) => put(bytes),
                    Part::Payload(payload) => put(payload.as_bytes(py)),
                }
            }
            Ok(())
        })?;
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

//! The splitter that passes messages to sinks; see `micro/_wire/frames.py`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use natsmicro_wire::frames::{Message, Receiver, Splitter};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

#[pyclass(frozen, module = "natsmicro_native")]
pub struct FrameSplitter {
    /// Taken out while bytes are split, as sinks run then.
    splitter: Mutex<Splitter>,
    routes: Py<PyDict>,
    others: Py<PyList>,
    messages: AtomicUsize,
    payload_bytes: AtomicUsize,
}

#[pymethods]
impl FrameSplitter {
    #[new]
    fn new(routes: Bound<'_, PyDict>) -> Self {
        FrameSplitter {
            splitter: Mutex::default(),
            others: PyList::empty(routes.py()).unbind(),
            routes: routes.unbind(),
            messages: AtomicUsize::new(0),
            payload_bytes: AtomicUsize::new(0),
        }
    }

    #[getter]
    fn others(&self, py: Python<'_>) -> Py<PyList> {
        self.others.clone_ref(py)
    }

    #[getter]
    fn messages(&self) -> usize {
        self.messages.load(Relaxed)
    }

    #[setter(messages)]
    fn set_messages(&self, count: usize) {
        self.messages.store(count, Relaxed);
    }

    #[getter]
    fn payload_bytes(&self) -> usize {
        self.payload_bytes.load(Relaxed)
    }

    #[setter(payload_bytes)]
    fn set_payload_bytes(&self, count: usize) {
        self.payload_bytes.store(count, Relaxed);
    }

    fn feed(&self, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        self.split(data.py(), data.as_bytes())
    }

    fn feed_from(&self, py: Python<'_>, buffer: PyBuffer<u8>, size: usize) -> PyResult<()> {
        if !buffer.is_c_contiguous() || size > buffer.len_bytes() {
            return Err(PyValueError::new_err("size beyond the end of the buffer"));
        }
        // SAFETY: `buffer` keeps the memory alive and of this size, and `size` is within it. Only
        // the event loop writes to it, between two calls: the sinks never see the buffer.
        let data = unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), size) };
        self.split(py, data)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.routes)?;
        visit.call(&self.others)
    }
}

impl FrameSplitter {
    fn split(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let mut splitter = std::mem::take(&mut *self.splitter.lock().unwrap());
        let mut delivery = Delivery {
            owner: self,
            routes: self.routes.bind(py),
            others: self.others.bind(py),
            run: PyList::empty(py),
            sink: None,
            known: None,
            subject: None,
        };
        let split = splitter.feed(data, &mut delivery);
        *self.splitter.lock().unwrap() = splitter;
        split?;
        delivery.hand_over()
    }
}

/// The messages of one piece of the stream on their way to their sinks.
struct Delivery<'a, 'py> {
    owner: &'a FrameSplitter,
    routes: &'a Bound<'py, PyDict>,
    others: &'a Bound<'py, PyList>,
    run: Bound<'py, PyList>,
    /// The sink of the run.
    sink: Option<Bound<'py, PyAny>>,
    /// The id of the run's subscription, unless a sink has been called since: it may change routes.
    known: Option<Vec<u8>>,
    /// The subject of the last message; most often the next one has the same.
    subject: Option<Bound<'py, PyBytes>>,
}

impl<'py> Delivery<'_, 'py> {
    /// Chooses the sink of a message; returns false if it has none.
    fn route(&mut self, sid: &[u8]) -> PyResult<bool> {
        if self.known.as_deref() == Some(sid) {
            return Ok(true);
        }
        let Some(sink) = self.routes.get_item(PyBytes::new(self.routes.py(), sid))? else {
            return Ok(false);
        };
        if self.sink.as_ref().is_some_and(|last| last.is(&sink)) {
            self.known = Some(sid.to_vec());
            return Ok(true);
        }
        let first = self.sink.is_none();
        self.hand_over()?;
        self.known = first.then(|| sid.to_vec());
        self.sink = Some(sink);
        Ok(true)
    }

    fn hand_over(&mut self) -> PyResult<()> {
        if let Some(sink) = self.sink.take() {
            self.owner.messages.fetch_add(self.run.len(), Relaxed);
            let run = std::mem::replace(&mut self.run, PyList::empty(sink.py()));
            sink.call1((run,))?;
        }
        Ok(())
    }

    fn subject(&mut self, name: &[u8]) -> Bound<'py, PyBytes> {
        match &self.subject {
            Some(last) if last.as_bytes() == name => last.clone(),
            _ => {
                let subject = PyBytes::new(self.routes.py(), name);
                self.subject.insert(subject).clone()
            }
        }
    }
}

impl Receiver for Delivery<'_, '_> {
    type Error = PyErr;

    fn message(&mut self, data: &[u8], message: &Message) -> PyResult<bool> {
        if !self.route(&data[message.sid.clone()])? {
            return Ok(false);
        }
        let py = self.routes.py();
        let payload = &data[message.payload.clone()];
        self.owner.payload_bytes.fetch_add(payload.len(), Relaxed);
        let headers = match &message.headers {
            Some(block) => PyBytes::new(py, &data[block.clone()]).into_any(),
            None => py.None().into_bound(py),
        };
        let parts = [
            self.subject(&data[message.subject.clone()]).into_any(),
            PyBytes::new(py, &data[message.reply.clone()]).into_any(),
            PyBytes::new(py, payload).into_any(),
            headers,
        ];
        self.run.append(PyTuple::new(py, parts)?)?;
        Ok(true)
    }

    fn other(&mut self, frame: &[u8]) -> PyResult<()> {
        self.others.append(PyBytes::new(self.others.py(), frame))
    }
}

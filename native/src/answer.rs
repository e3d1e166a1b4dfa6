//! The future answer to a request, which a task waits for as for a future of asyncio.
//!
//! It does what `asyncio.isfuture` and the tasks of asyncio ask for. In place of one callback of the
//! event loop for each answer, `Requester` wakes the waiting tasks of many answers in one.

use std::mem;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::known;
use crate::requester::Requester;

#[derive(Default)]
pub enum Outcome {
    #[default]
    Pending,
    Message(Py<PyAny>),
    Error(Py<PyAny>),
    Cancelled(Option<Py<PyAny>>),
}

/// A callback, and the context that it runs in.
type Callback = (Py<PyAny>, Py<PyAny>);

#[pyclass(module = "natsmicro_native", weakref)]
pub struct Answer {
    requester: Py<Requester>,
    number: u64,
    event_loop: Py<PyAny>,
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
    outcome: Outcome,
    /// Almost always one, that of the waiting task.
    callbacks: Vec<Callback>,
}

impl Answer {
    pub fn new(requester: Py<Requester>, number: u64, event_loop: Py<PyAny>) -> Self {
        Answer {
            requester,
            number,
            event_loop,
            blocking: false,
            outcome: Outcome::Pending,
            callbacks: Vec::new(),
        }
    }

    /// Sets the outcome; returns whether somebody waits for it.
    pub fn end(&mut self, outcome: Outcome) -> bool {
        self.outcome = outcome;
        !self.callbacks.is_empty()
    }

    /// Calls the callbacks, each in its context.
    pub fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let mut callbacks = mem::take(&mut slf.borrow_mut().callbacks).into_iter();
        for (callback, context) in callbacks.by_ref() {
            let run = context.bind(py).call_method1(intern!(py, "run"), (callback, slf));
            if let Err(error) = run {
                slf.borrow_mut().callbacks.extend(callbacks);
                return Err(error);
            }
        }
        Ok(())
    }

    fn is_pending(&self) -> bool {
        matches!(self.outcome, Outcome::Pending)
    }

    /// Ends the wait of a task that is stopped in another way than by `cancel`.
    fn give_up(slf: &Bound<'_, Self>) {
        if slf.borrow().is_pending() {
            let (requester, number) = {
                let mut answer = slf.borrow_mut();
                answer.outcome = Outcome::Cancelled(None);
                answer.callbacks.clear();
                (answer.requester.clone_ref(slf.py()), answer.number)
            };
            Requester::forget(requester.bind(slf.py()), number);
        }
    }

    fn given(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.outcome {
            Outcome::Message(message) => Ok(message.clone_ref(py)),
            Outcome::Error(error) => Err(PyErr::from_value(error.bind(py).clone())),
            Outcome::Cancelled(text) => {
                let kind = known::CANCELLED.get(py)?;
                Err(PyErr::from_value(match text {
                    Some(text) => kind.call1((text,))?,
                    None => kind.call0()?,
                }))
            }
            Outcome::Pending => {
                let kind = known::INVALID_STATE.get(py)?;
                Err(PyErr::from_value(kind.call1(("Result is not set.",))?))
            }
        }
    }
}

#[pymethods]
impl Answer {
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    fn done(&self) -> bool {
        !self.is_pending()
    }

    fn cancelled(&self) -> bool {
        matches!(self.outcome, Outcome::Cancelled(_))
    }

    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.given(py)
    }

    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &self.outcome {
            Outcome::Error(error) => Ok(Some(error.clone_ref(py))),
            _ => self.given(py).map(|_| None),
        }
    }

    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        if !slf.borrow().is_pending() {
            return Ok(false);
        }
        let (requester, number, waits) = {
            let mut answer = slf.borrow_mut();
            let waits = answer.end(Outcome::Cancelled(msg));
            (answer.requester.clone_ref(py), answer.number, waits)
        };
        Requester::forget(requester.bind(py), number);
        if waits {
            Requester::wake_soon(requester.bind(py), slf.clone().unbind())?;
        }
        Ok(true)
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let context = match context {
            Some(context) => context,
            None => known::COPY_CONTEXT.get(py)?.call0()?.unbind(),
        };
        let mut answer = slf.borrow_mut();
        if answer.is_pending() {
            answer.callbacks.push((callback, context));
            return Ok(());
        }
        let event_loop = answer.event_loop.clone_ref(py);
        drop(answer);
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "context"), context)?;
        let arguments = (callback, slf);
        let name = intern!(py, "call_soon");
        event_loop.bind(py).call_method(name, arguments, Some(&keywords)).map(drop)
    }

    fn remove_done_callback(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let all = mem::take(&mut slf.borrow_mut().callbacks);
        let count = all.len();
        let mut kept = Vec::new();
        for each in all {
            if !callback.eq(&each.0)? {
                kept.push(each);
            }
        }
        let removed = count - kept.len();
        slf.borrow_mut().callbacks = kept;
        Ok(removed)
    }

    // -- what `await` calls

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<Self>> {
        let mut answer = slf.borrow_mut();
        if answer.is_pending() {
            if answer.blocking || !answer.callbacks.is_empty() {
                return Err(PyRuntimeError::new_err("await wasn't used with future"));
            }
            answer.blocking = true;
            return Ok(slf.clone().unbind());
        }
        Err(PyStopIteration::new_err(answer.given(slf.py())?))
    }

    fn send(slf: &Bound<'_, Self>, _value: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        Self::__next__(slf)
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<Self>> {
        Self::give_up(slf);
        let value = value.filter(|value| !value.is_none());
        let error = match (kind.cast::<PyType>(), value) {
            (Ok(kind), Some(value)) if value.is_instance(kind)? => value,
            (Ok(kind), Some(value)) => match value.cast::<PyTuple>() {
                Ok(arguments) => kind.call1(arguments)?,
                Err(_) => kind.call1((value,))?,
            },
            (Ok(kind), None) => kind.call0()?,
            (Err(_), _) => kind.clone(),
        };
        if let Some(traceback) = traceback.filter(|traceback| !traceback.is_none()) {
            error.setattr(intern!(slf.py(), "__traceback__"), traceback)?;
        }
        Err(PyErr::from_value(error))
    }

    fn close(slf: &Bound<'_, Self>) {
        Self::give_up(slf);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.requester)?;
        visit.call(&self.event_loop)?;
        match &self.outcome {
            Outcome::Message(object) | Outcome::Error(object) => visit.call(object)?,
            Outcome::Pending | Outcome::Cancelled(_) => {}
        }
        for (callback, context) in &self.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.outcome = Outcome::Cancelled(None);
        self.callbacks.clear();
    }
}

//! Requests with one answer; see `micro/_client/requester.py`.

use std::collections::HashMap;
use std::mem;

use natsmicro_wire::push_number;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::answer::{Answer, Outcome};
use crate::headers::{block_of, decode_headers};
use crate::known;
use crate::outbox::Outbox;

/// Seconds of a time-out that need no care for their size.
const LONGEST: f64 = 1e9;

/// Requests are sent here as long as the outbox of the fast path takes them; all others run in the
/// Python method of the specification, which keeps its own futures in `_waiting`.
#[pyclass(subclass, weakref, module = "micro._client.requester")]
pub struct Requester {
    #[pyo3(get, name = "_nc")]
    nc: Py<PyAny>,
    path: Option<Fast>,
    #[pyo3(get, name = "_path")]
    given_path: Option<Py<PyAny>>,
    event_loop: Option<Loop>,
    #[pyo3(get, set, name = "_inbox")]
    inbox: Py<PyBytes>,
    #[pyo3(get, set, name = "_sid")]
    sid: Option<Py<PyAny>>,
    #[pyo3(get, set, name = "_number")]
    number: u64,
    #[pyo3(get, set, name = "_waiting")]
    waiting: Py<PyDict>,
    #[pyo3(get, set, name = "_timer")]
    timer: Option<Py<PyAny>>,
    #[pyo3(get, set, name = "_next_look")]
    next_look: f64,
    /// By number; with the moment that the caller stops waiting.
    asked: HashMap<u64, (Py<Answer>, f64)>,
    /// Answers whose tasks the event loop is going to wake.
    woken: Vec<Py<Answer>>,
    /// The timer for late answers, and the moment of it.
    alarm: Option<(Py<PyAny>, f64)>,
}

/// A fast path with an outbox of this module.
struct Fast {
    outbox: Py<Outbox>,
    /// Opens the outbox for one turn of the event loop.
    open: Py<PyAny>,
}

struct Loop {
    event_loop: Py<PyAny>,
    time: Py<PyAny>,
}

#[pymethods]
impl Requester {
    #[new]
    fn new(nc: Py<PyAny>) -> Self {
        Python::attach(|py| Requester {
            nc,
            path: None,
            given_path: None,
            event_loop: None,
            inbox: PyBytes::new(py, b"").unbind(),
            sid: None,
            number: 0,
            waiting: PyDict::new(py).unbind(),
            timer: None,
            next_look: f64::INFINITY,
            asked: HashMap::new(),
            woken: Vec::new(),
            alarm: None,
        })
    }

    #[setter(_path)]
    fn set_path(&mut self, path: Bound<'_, PyAny>) -> PyResult<()> {
        self.path = Fast::of(&path)?;
        self.given_path = Some(path.unbind());
        Ok(())
    }

    #[getter(_loop)]
    fn event_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.event_loop.as_ref().map(|found| found.event_loop.clone_ref(py))
    }

    #[setter(_loop)]
    fn set_event_loop(&mut self, event_loop: Bound<'_, PyAny>) -> PyResult<()> {
        let time = event_loop.getattr(intern!(event_loop.py(), "time"))?.unbind();
        self.event_loop = Some(Loop { event_loop: event_loop.unbind(), time });
        Ok(())
    }

    #[getter]
    fn outstanding(&self, py: Python<'_>) -> usize {
        self.asked.len() + self.waiting.bind(py).len()
    }

    #[pyo3(signature = (subject, data, headers, timeout, *, tell=false))]
    fn request<'py>(
        slf: &Bound<'py, Self>,
        subject: &Bound<'py, PyAny>,
        data: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        timeout: &Bound<'py, PyAny>,
        tell: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(answer) = Self::ask(slf, subject, data, headers, timeout, tell)? {
            return Ok(answer.into_any());
        }
        let py = slf.py();
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "tell"), tell)?;
        let method = specified(py)?.getattr(intern!(py, "request"))?;
        method.call((slf, subject, data, headers, timeout), Some(&keywords))
    }

    fn _receive(slf: &Bound<'_, Self>, messages: &Bound<'_, PyList>) -> PyResult<()> {
        let py = slf.py();
        let inbox = slf.borrow().inbox.clone_ref(py);
        let mut others = None;
        for message in messages.iter() {
            let message = message.cast_into::<PyTuple>()?;
            let subject = message.get_item(0)?.cast_into::<PyBytes>()?;
            let number = number_of(subject.as_bytes(), inbox.as_bytes(py));
            let asked = number.and_then(|number| slf.borrow_mut().asked.remove(&number));
            let Some((answer, _)) = asked else {
                others.get_or_insert_with(|| PyList::empty(py)).append(message)?;
                continue;
            };
            let outcome = slf.borrow().outcome(&message)?;
            if answer.borrow_mut(py).end(outcome) {
                Self::wake_soon(slf, answer)?;
            }
        }
        if let Some(others) = others {
            specified(py)?.call_method1(intern!(py, "_receive"), (slf, others))?;
        }
        Ok(())
    }

    /// Wakes the tasks that wait for answers which have arrived.
    fn _wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let mut woken = mem::take(&mut slf.borrow_mut().woken).into_iter();
        while let Some(answer) = woken.next() {
            let Err(error) = Answer::wake(answer.bind(py)) else {
                continue;
            };
            let ends = error.is_instance_of::<PySystemExit>(py)
                || error.is_instance_of::<PyKeyboardInterrupt>(py);
            if !ends {
                let context = PyDict::new(py);
                context.set_item("message", "exception in a callback of an answer")?;
                context.set_item("exception", error.into_value(py))?;
                let event_loop = slf.borrow().the_loop(py)?;
                event_loop.call_method1(intern!(py, "call_exception_handler"), (context,))?;
                continue;
            }
            for rest in std::iter::once(answer).chain(woken) {
                Self::wake_soon(slf, rest)?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Raises TimeoutError in the tasks whose time is over.
    fn _expire(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        slf.borrow_mut().alarm = None;
        let now: f64 = slf.borrow().the_loop(py)?.call_method0(intern!(py, "time"))?.extract()?;
        let mut late = Vec::new();
        let mut following = f64::INFINITY;
        slf.borrow_mut().asked.retain(|number, (answer, deadline)| {
            if *deadline <= now {
                late.push((*number, answer.clone_ref(py)));
                return false;
            }
            following = following.min(*deadline);
            true
        });
        late.sort_by_key(|(number, _)| *number); // callers learn of it in the order they asked
        for (_, answer) in late {
            let error = known::TIMEOUT.get(py)?.call0()?.unbind();
            if answer.borrow_mut(py).end(Outcome::Error(error)) {
                Self::wake_soon(slf, answer)?;
            }
        }
        if following < f64::INFINITY {
            let least: f64 = known::LEAST_PAUSE.get(py)?.extract()?;
            Self::look_at(slf, following.max(now + least))?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.nc)?;
        visit.call(&self.given_path)?;
        if let Some(path) = &self.path {
            visit.call(&path.outbox)?;
            visit.call(&path.open)?;
        }
        if let Some(event_loop) = &self.event_loop {
            visit.call(&event_loop.event_loop)?;
            visit.call(&event_loop.time)?;
        }
        visit.call(&self.waiting)?;
        visit.call(&self.timer)?;
        for (answer, _) in self.asked.values() {
            visit.call(answer)?;
        }
        for answer in &self.woken {
            visit.call(answer)?;
        }
        match &self.alarm {
            Some((timer, _)) => visit.call(timer),
            None => Ok(()),
        }
    }

    fn __clear__(&mut self) {
        self.path = None;
        self.given_path = None;
        self.event_loop = None;
        self.timer = None;
        self.asked.clear();
        self.woken.clear();
        self.alarm = None;
    }
}

impl Requester {
    /// Forgets a request whose caller waits no more.
    pub fn forget(slf: &Bound<'_, Self>, number: u64) {
        let forgotten = slf.borrow_mut().asked.remove(&number);
        drop(forgotten);
    }

    /// Has the event loop wake those who wait for an answer, with all others of this turn.
    pub fn wake_soon(slf: &Bound<'_, Self>, answer: Py<Answer>) -> PyResult<()> {
        let py = slf.py();
        let mut requester = slf.borrow_mut();
        requester.woken.push(answer);
        if requester.woken.len() > 1 {
            return Ok(());
        }
        drop(requester);
        let wake = slf.getattr(intern!(py, "_wake"))?;
        let event_loop = slf.borrow().the_loop(py)?;
        event_loop.call_method1(intern!(py, "call_soon"), (wake,)).map(drop)
    }

    /// Sends a request; returns None if the Python method must do it.
    fn ask<'py>(
        slf: &Bound<'py, Self>,
        subject: &Bound<'py, PyAny>,
        data: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        timeout: &Bound<'py, PyAny>,
        tell: bool,
    ) -> PyResult<Option<Bound<'py, Answer>>> {
        let py = slf.py();
        let (Ok(subject), Ok(data)) = (subject.cast::<PyString>(), data.cast_exact::<PyBytes>())
        else {
            return Ok(None);
        };
        let (Ok(subject), Ok(seconds)) = (subject.to_str(), timeout.extract::<f64>()) else {
            return Ok(None);
        };
        if !is_subject(subject) || !(-LONGEST..LONGEST).contains(&seconds) {
            return Ok(None);
        }
        let Some(block) = block_of(headers, tell.then_some(seconds)) else {
            return Ok(None);
        };
        let Some(outbox) = Self::open_outbox(slf)? else {
            return Ok(None);
        };
        let (number, reply) = slf.borrow().next_reply(py);
        let deadline = Self::now(slf)? + seconds;
        if !outbox.get().publish(subject.as_bytes(), &reply, &block, data)? {
            return Ok(None);
        }
        slf.borrow_mut().number = number;
        let answer = {
            let event_loop = slf.borrow().the_loop(py)?.unbind();
            Bound::new(py, Answer::new(slf.clone().unbind(), number, event_loop))?
        };
        slf.borrow_mut().asked.insert(number, (answer.clone().unbind(), deadline));
        if slf.borrow().alarm.as_ref().is_none_or(|(_, moment)| deadline < *moment) {
            Self::look_at(slf, deadline)?;
        }
        Ok(Some(answer))
    }

    /// Returns the outbox of the path if it takes messages.
    fn open_outbox<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, Outbox>>> {
        let py = slf.py();
        let requester = slf.borrow();
        let Some(path) = &requester.path else {
            return Ok(None);
        };
        if requester.inbox.as_bytes(py).is_empty() {
            return Ok(None);
        }
        let outbox = path.outbox.bind(py).clone();
        if !outbox.get().is_open() {
            // Once in a turn of the event loop.
            let open = path.open.clone_ref(py);
            let subscription =
                (requester.nc.clone_ref(py), requester.sid.as_ref().map(|sid| sid.clone_ref(py)));
            drop(requester);
            if !known::KNOWS.get(py)?.call1(subscription)?.is_truthy()? {
                return Ok(None);
            }
            open.call0(py)?;
        }
        Ok(outbox.get().is_open().then_some(outbox))
    }

    fn now(slf: &Bound<'_, Self>) -> PyResult<f64> {
        let py = slf.py();
        let time = match &slf.borrow().event_loop {
            Some(found) => found.time.clone_ref(py),
            None => return Err(no_loop()),
        };
        time.bind(py).call0()?.extract()
    }

    fn look_at(slf: &Bound<'_, Self>, moment: f64) -> PyResult<()> {
        let py = slf.py();
        let last = slf.borrow_mut().alarm.take();
        if let Some((timer, _)) = last {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        let event_loop = slf.borrow().the_loop(py)?;
        let expire = slf.getattr(intern!(py, "_expire"))?;
        let timer = event_loop.call_method1(intern!(py, "call_at"), (moment, expire))?;
        slf.borrow_mut().alarm = Some((timer.unbind(), moment));
        Ok(())
    }

    fn the_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.event_loop {
            Some(found) => Ok(found.event_loop.bind(py).clone()),
            None => Err(no_loop()),
        }
    }

    /// Returns the next number and the reply subject with it.
    fn next_reply(&self, py: Python<'_>) -> (u64, Vec<u8>) {
        let (inbox, number) = (self.inbox.as_bytes(py), self.number + 1);
        let mut reply = Vec::with_capacity(inbox.len() + 20);
        reply.extend_from_slice(inbox);
        push_number(&mut reply, number);
        (number, reply)
    }

    /// Returns what an answer means for the caller.
    fn outcome(&self, message: &Bound<'_, PyTuple>) -> PyResult<Outcome> {
        let py = message.py();
        let message = msg(self.nc.bind(py), message)?;
        let headers = message.getattr(intern!(py, "headers"))?;
        if let Ok(headers) = headers.cast::<PyDict>()
            && let Some(code) = headers.get_item(intern!(py, "Status"))?
            && code.cast::<PyString>().is_ok_and(|code| code == "503")
        {
            return Ok(Outcome::Error(known::NO_RESPONDERS.get(py)?.call0()?.unbind()));
        }
        Ok(Outcome::Message(message.unbind()))
    }
}

/// Returns a message in the form that users of nats-py know; see `micro/_wire/nats_py.py`.
#[pyfunction]
pub fn msg<'py>(
    nc: &Bound<'py, PyAny>,
    message: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = nc.py();
    let mut headers = message.get_item(3)?;
    if let Ok(block) = headers.cast::<PyBytes>() {
        headers = decode_headers(py, block.as_bytes().into())?.into_any();
    }
    if !headers.is_truthy()? {
        headers = py.None().into_bound(py);
    }
    let (subject, reply) = (text(&message.get_item(0)?)?, text(&message.get_item(1)?)?);
    known::MSG.get(py)?.call1((nc, subject, reply, message.get_item(2)?, headers))
}

impl Fast {
    fn of(path: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let py = path.py();
        let Some(reply) = path.getattr_opt(intern!(py, "reply"))? else {
            return Ok(None);
        };
        let Some(owner) = reply.getattr_opt(intern!(py, "__self__"))? else {
            return Ok(None);
        };
        let Ok(outbox) = owner.cast_into::<Outbox>() else {
            return Ok(None);
        };
        let open = path.getattr(intern!(py, "open_outbox"))?.unbind();
        Ok(Some(Fast { outbox: outbox.unbind(), open }))
    }
}

fn no_loop() -> PyErr {
    PyRuntimeError::new_err("the requester has not been opened")
}

fn specified(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    known::SPECIFICATION.get(py)?.get_item(intern!(py, "Requester"))
}

fn text<'py>(bytes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let bytes = bytes.cast::<PyBytes>()?;
    match std::str::from_utf8(bytes.as_bytes()) {
        Ok(text) => Ok(PyString::new(bytes.py(), text)),
        Err(_) => PyString::from_encoded_object(bytes, Some(c"utf-8"), Some(c"replace")),
    }
}

/// Returns whether nothing of a subject needs a check in Python.
fn is_subject(subject: &str) -> bool {
    !subject.is_empty() && !subject.bytes().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Returns the number at the end of a reply subject below an inbox, in the form that it is sent in.
fn number_of(subject: &[u8], inbox: &[u8]) -> Option<u64> {
    let digits = subject.strip_prefix(inbox)?;
    if digits.first() == Some(&b'0') || digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0, |sum: u64, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

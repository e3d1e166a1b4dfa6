//! Requests that run one after the other; see `micro/_endpoint/series.py`.

use std::time::Instant;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyBytes, PyIterator};

use crate::headers::block_of;
use crate::known;
use crate::outbox::Outbox;
use crate::request::NatsRequest;
use crate::response::Response;
use crate::tally::Tally;

/// Reply subjects that are kept; see `micro/_endpoint/runner.py`.
const ANSWERED: usize = 128;

#[pyclass(frozen, module = "natsmicro_native")]
pub struct Series {
    endings: Py<PyAny>,
    /// The outbox of the fast path; None on the public path.
    outbox: Option<Py<Outbox>>,
    congestion: Py<PyAny>,
}

/// What became of the first step of a handler.
enum Step<'py> {
    Ended,
    Waits(Bound<'py, PyAny>, Bound<'py, PyAny>),
}

/// What one batch of requests needs.
struct Batch<'a, 'py> {
    endings: &'a Bound<'py, PyAny>,
    outbox: Option<&'a Bound<'py, Outbox>>,
    congestion: &'a Bound<'py, PyAny>,
    task: &'a Bound<'py, PyAny>,
    context: Bound<'py, PyAny>,
    expected: Bound<'py, PyAny>,
    cancelling: Bound<'py, PyAny>,
    call: Bound<'py, PyAny>,
    direct: Option<Bound<'py, PyAny>>,
    outer: Option<Bound<'py, PyAny>>,
    bound: bool,
    arrival: f64,
    clock: Clock,
    times: Vec<u64>,
    answered: Vec<Py<PyAny>>,
}

/// The clock of `time.perf_counter_ns`, which it asks only once.
struct Clock {
    began: Instant,
    offset: i64,
}

impl Clock {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[pymethods]
impl Series {
    #[new]
    fn new(endings: Py<PyAny>, reply: &Bound<'_, PyAny>, congestion: Py<PyAny>) -> PyResult<Self> {
        let py = reply.py();
        let outbox = match reply.getattr_opt(intern!(py, "__self__"))? {
            Some(owner) => owner.cast_into::<Outbox>().ok().map(Bound::unbind),
            None => None,
        };
        Ok(Series { endings, outbox, congestion })
    }

    fn start<'py>(
        &self,
        task: &Bound<'py, PyAny>,
        requests: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = task.py();
        let endings = self.endings.bind(py);
        let work = endings.getattr(intern!(py, "work"))?;
        let direct = some(work.getattr(intern!(py, "direct"))?);
        let outer = some(work.getattr(intern!(py, "outer"))?);
        let arrival = endings.call_method0(intern!(py, "clock"))?.extract()?;
        let offset = known::PERF_COUNTER_NS.get(py)?.call0()?.extract()?;
        let mut batch = Batch {
            endings,
            outbox: self.outbox.as_ref().map(|outbox| outbox.bind(py)),
            congestion: self.congestion.bind(py),
            task,
            context: task.getattr(intern!(py, "context"))?,
            expected: task.getattr(intern!(py, "expected"))?,
            cancelling: task.getattr(intern!(py, "task"))?.getattr(intern!(py, "cancelling"))?,
            call: work.getattr(intern!(py, "call"))?,
            direct,
            outer,
            bound: !task.getattr(intern!(py, "bound"))?.is_none(),
            arrival,
            clock: Clock { began: Instant::now(), offset },
            times: Vec::new(),
            answered: Vec::new(),
        };
        let rest = batch.run(requests);
        batch.count()?;
        rest
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.endings)?;
        visit.call(&self.outbox)?;
        visit.call(&self.congestion)
    }
}

impl<'py> Batch<'_, 'py> {
    fn run(&mut self, requests: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.task.py();
        let mut started = 0;
        for request in requests.try_iter()? {
            let request = request?.cast_into::<NatsRequest>()?;
            let sending = match self.step(&request, started) {
                Ok(Step::Waits(steps, waits_for)) => {
                    let arguments = (&request, self.moment(started), steps, waits_for);
                    return self
                        .endings
                        .call_method1(intern!(py, "suspended"), arguments)
                        .map(Some);
                }
                Ok(Step::Ended) => self.answer(&request, started)?,
                Err(error) => {
                    let arguments = (&request, error.into_value(py), self.moment(started));
                    some(self.endings.call_method1(intern!(py, "fail"), arguments)?)
                }
            };
            let ended = self.clock.elapsed();
            self.times.push(ended - started);
            if let Some(sending) = sending {
                let rest =
                    self.endings.call_method1(intern!(py, "begin_to_send"), (&request, sending))?;
                if !rest.is_none() {
                    return Ok(Some(rest));
                }
            }
            if self.is_over()? {
                return Ok(None);
            }
            started = ended;
        }
        Ok(None)
    }

    /// Binds the deadline of a request and takes the first step of its handler.
    fn step(&mut self, request: &Bound<'py, NatsRequest>, started: u64) -> PyResult<Step<'py>> {
        let py = self.task.py();
        if self.bound || request.borrow().patience().is_some() {
            let now = self.arrival + started as f64 / 1e9;
            let arguments = (request, self.arrival, now);
            let outcome = self.task.call_method1(intern!(py, "bind"), arguments);
            self.bound = !self.task.getattr(intern!(py, "bound"))?.is_none();
            self.expected = self.task.getattr(intern!(py, "expected"))?;
            outcome?;
        }
        if let Some(direct) = &self.direct {
            let result = direct.call1((request,))?;
            if !result.is_none() {
                known::REFUSE_TO_WAIT.get(py)?.call1((result,))?;
            }
            return Ok(Step::Ended);
        }
        let Some(outer) = &self.outer else {
            return Ok(match first_step(self.call.call1((request,))?)? {
                First::Returned(_) => Step::Ended,
                First::Waits(steps, waits_for) => Step::Waits(steps, waits_for),
            });
        };
        let mut steps = outer.call1((request,))?;
        if !steps.get_type().is(known::COROUTINE.get(py)?) {
            steps = known::AWAITED.get(py)?.call1((steps,))?;
        }
        match first_step(steps)? {
            First::Returned(response) => leave_answer(request, &response).map(|()| Step::Ended),
            First::Waits(steps, waits_for) => {
                let rest = known::CONCLUDED.get(py)?.call1((request, steps, waits_for))?;
                match first_step(rest)? {
                    First::Returned(_) => Ok(Step::Ended),
                    First::Waits(steps, waits_for) => Ok(Step::Waits(steps, waits_for)),
                }
            }
        }
    }

    /// Answers a request whose handler has returned; returns what is left to do.
    fn answer(
        &mut self,
        request: &Bound<'py, NatsRequest>,
        started: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.task.py();
        let answered = request.borrow();
        let sent = answered.sent.as_ref().map(|sent| sent.bind(py).clone());
        let reply = answered.raw_reply.as_ref().map(|reply| reply.bind(py).clone());
        let headers = answered.sent_headers.as_ref().map(|headers| headers.bind(py).clone());
        drop(answered);
        let block = match &headers {
            Some(headers) if headers.is_truthy()? => sendable(headers)?,
            _ => Some(Vec::new()),
        };
        let (Some(block), Some(data)) = (block, sent) else {
            let arguments = (request, self.moment(started));
            return Ok(some(self.endings.call_method1(intern!(py, "end"), arguments)?));
        };
        if let (Some(outbox), Some(reply)) = (self.outbox, reply)
            && let (Ok(subject), Ok(payload)) = (reply.cast::<PyBytes>(), data.cast::<PyBytes>())
        {
            match outbox.get().push(subject.as_bytes(), &block, payload) {
                Ok(false) => {}
                Ok(true) => {
                    self.answered.push(reply.unbind());
                    return Ok(None);
                }
                Err(error) => {
                    let answer = (data, headers);
                    let arguments = (request, answer, error.into_value(py));
                    let name = intern!(py, "answer_instead");
                    return Ok(some(self.endings.call_method1(name, arguments)?));
                }
            }
        }
        if !block.is_empty() {
            return Ok(some(
                self.endings.call_method1(intern!(py, "answer"), (request, data, headers))?,
            ));
        }
        Ok(some(self.endings.call_method1(intern!(py, "answer"), (request, data))?))
    }

    /// Returns whether no further request may run in this task.
    fn is_over(&self) -> PyResult<bool> {
        let py = self.task.py();
        Ok(!self.context.eq(&self.expected)?
            || self.cancelling.call0()?.is_truthy()?
            || self.congestion.getattr(intern!(py, "on"))?.is_truthy()?)
    }

    fn moment(&self, elapsed: u64) -> i64 {
        self.clock.offset.saturating_add_unsigned(elapsed)
    }

    fn count(&mut self) -> PyResult<()> {
        let py = self.task.py();
        let times = std::mem::take(&mut self.times);
        let tally = self.endings.getattr(intern!(py, "tally"))?;
        tally.cast::<Tally>()?.borrow_mut().handled(times);
        let first = self.answered.len().saturating_sub(ANSWERED);
        let latest = self.answered.split_off(first);
        if !latest.is_empty() {
            let answered = self.endings.getattr(intern!(py, "answered"))?;
            answered.call_method1(intern!(py, "extend"), (latest,))?;
        }
        Ok(())
    }
}

/// What became of the first step of a coroutine.
enum First<'py> {
    Returned(Bound<'py, PyAny>),
    Waits(Bound<'py, PyAny>, Bound<'py, PyAny>),
}

fn first_step(steps: Bound<'_, PyAny>) -> PyResult<First<'_>> {
    let py = steps.py();
    let iterator = if steps.get_type().is(known::COROUTINE.get(py)?) {
        // SAFETY: `send` is `PyIter_Send`, which takes coroutines as well as iterators.
        unsafe { steps.cast_unchecked::<PyIterator>() }.clone()
    } else {
        steps.call_method0(intern!(py, "__await__"))?.cast_into::<PyIterator>()?
    };
    Ok(match iterator.send(py.None().bind(py))? {
        PySendResult::Return(returned) => First::Returned(returned),
        PySendResult::Next(waits_for) => First::Waits(steps, waits_for),
    })
}

/// Leaves the answer that the outermost middleware has returned in the request.
fn leave_answer(request: &Bound<'_, NatsRequest>, response: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = request.py();
    let Ok(given) = response.cast::<Response>() else {
        let text = response.repr()?;
        return Err(PyTypeError::new_err(format!(
            "a middleware returned {}: expected a Response",
            text.to_string_lossy()
        )));
    };
    let (data, headers): (Option<Py<PyAny>>, Option<Py<PyAny>>) =
        if given.is_exact_instance_of::<Response>() {
            given.borrow().answer(py)
        } else {
            given.call_method0(intern!(py, "answer"))?.extract()?
        };
    let mut request = request.borrow_mut();
    request.sent = data;
    request.sent_headers = headers;
    Ok(())
}

/// Returns the block of headers that are no error and need no check; None for any other ones.
fn sendable(headers: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    let py = headers.py();
    for name in [intern!(py, "Nats-Service-Error"), intern!(py, "Nats-Service-Error-Code")] {
        if headers.contains(name)? {
            return Ok(None);
        }
    }
    Ok(block_of(Some(headers), None))
}

fn some(found: Bound<'_, PyAny>) -> Option<Bound<'_, PyAny>> {
    (!found.is_none()).then_some(found)
}

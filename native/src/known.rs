//! The objects of `micro` and of the standard library that this module uses, each looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// A name of a Python module.
pub struct Known {
    module: &'static str,
    name: &'static str,
    value: PyOnceLock<Py<PyAny>>,
}

impl Known {
    const fn new(module: &'static str, name: &'static str) -> Self {
        Known { module, name, value: PyOnceLock::new() }
    }

    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let found = self.value.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
            Ok(py.import(self.module)?.getattr(self.name)?.unbind())
        })?;
        Ok(found.bind(py))
    }
}

pub static DONE: Known = Known::new("micro._handlers.request", "DONE");
pub static ALREADY_RESPONDED: Known = Known::new("micro._errors", "AlreadyRespondedError");
pub static SERVERS_SUBJECT: Known = Known::new("micro._wire.outbox", "ServersSubjectError");
pub static REFUSE_TO_WAIT: Known = Known::new("micro._handlers.typed", "refuse_to_wait");
pub static AWAITED: Known = Known::new("micro._handlers.middleware", "awaited");
pub static CONCLUDED: Known = Known::new("micro._endpoint.runner", "concluded");
pub static COROUTINE: Known = Known::new("types", "CoroutineType");
pub static PERF_COUNTER_NS: Known = Known::new("time", "perf_counter_ns");
pub static NAMESPACE: Known = Known::new("types", "SimpleNamespace");
pub static SPECIFICATION: Known = Known::new("micro._native", "specification");
pub static LEAST_PAUSE: Known = Known::new("micro._client.requester", "LEAST_PAUSE");
pub static MSG: Known = Known::new("nats.aio.msg", "Msg");
pub static NO_RESPONDERS: Known = Known::new("nats.errors", "NoRespondersError");
pub static TIMEOUT: Known = Known::new("nats.errors", "TimeoutError");
pub static CANCELLED: Known = Known::new("asyncio", "CancelledError");
pub static INVALID_STATE: Known = Known::new("asyncio", "InvalidStateError");
pub static COPY_CONTEXT: Known = Known::new("contextvars", "copy_context");
pub static KNOWS: Known = Known::new("micro._wire.nats_py", "knows");

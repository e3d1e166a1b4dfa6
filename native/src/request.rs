//! Requests that arrive over NATS; see `micro/_handlers/nats_request.py`.

use natsmicro_wire::deadline;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyString, PyTuple};

use crate::headers::decode_headers;
use crate::known;
use crate::response::Response;

#[pyclass(subclass, module = "micro._handlers.nats_request")]
#[derive(Default)]
pub struct NatsRequest {
    #[pyo3(get, name = "_subject")]
    subject: Option<Py<PyAny>>,
    data: Option<Py<PyAny>>,
    /// The block as received, or the headers as a dict; None without headers.
    #[pyo3(get, name = "_headers")]
    headers: Option<Py<PyAny>>,
    #[pyo3(get, set)]
    pub raw_reply: Option<Py<PyAny>>,
    #[pyo3(get, set)]
    pub sent: Option<Py<PyAny>>,
    #[pyo3(get, set)]
    pub sent_headers: Option<Py<PyAny>>,
    #[pyo3(get, set)]
    response: Option<Py<PyAny>>,
    patience: Seconds,
    deadline: Seconds,
    rare: Option<Box<Rare>>,
}

/// What few requests have.
#[derive(Default)]
struct Rare {
    /// The namespace of the request, once it has been asked for.
    state: Option<Py<PyAny>>,
    failure: Option<Py<PyAny>>,
    expired: bool,
}

/// Seconds or none, in the space of a number: no number of seconds is NaN.
struct Seconds(f64);

impl Seconds {
    fn get(&self) -> Option<f64> {
        (!self.0.is_nan()).then_some(self.0)
    }
}

impl From<Option<f64>> for Seconds {
    fn from(seconds: Option<f64>) -> Self {
        Seconds(seconds.unwrap_or(f64::NAN))
    }
}

impl Default for Seconds {
    fn default() -> Self {
        None.into()
    }
}

impl NatsRequest {
    fn of_message(message: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let headers = message.get_item(3)?;
        let patience = if headers.is_none() { None } else { patience(&headers)? };
        Ok(NatsRequest {
            subject: Some(message.get_item(0)?.unbind()),
            raw_reply: Some(message.get_item(1)?.unbind()),
            data: Some(message.get_item(2)?.unbind()),
            headers: (!headers.is_none()).then(|| headers.unbind()),
            patience: patience.into(),
            ..Default::default()
        })
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// Returns the seconds for which the caller waits.
fn patience(headers: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if let Ok(block) = headers.cast_exact::<PyBytes>() {
        return Ok(deadline::from_block(block.as_bytes()));
    }
    let value = headers.call_method1(intern!(headers.py(), "get"), (deadline::HEADER,))?;
    if !value.is_truthy()? {
        return Ok(None);
    }
    Ok(deadline::from_value(value.cast::<PyString>()?.to_str()?.as_bytes()))
}

#[pymethods]
impl NatsRequest {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        NatsRequest::default()
    }

    fn __init__(
        &mut self,
        subject: Py<PyAny>,
        reply: Py<PyAny>,
        data: Py<PyAny>,
        headers: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let patience = match &headers {
            Some(headers) => patience(headers)?,
            None => None,
        };
        *self = NatsRequest {
            subject: Some(subject),
            raw_reply: Some(reply),
            data: Some(data),
            headers: headers.map(Bound::unbind),
            patience: patience.into(),
            ..Default::default()
        };
        Ok(())
    }

    fn subject<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        match &self.subject {
            Some(subject) => {
                let text = PyString::from_encoded_object(
                    subject.bind(py),
                    Some(c"utf-8"),
                    Some(c"replace"),
                )?;
                Ok(text)
            }
            None => Ok(PyString::new(py, "")),
        }
    }

    fn data(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.data.as_ref().map(|data| data.clone_ref(py))
    }

    fn headers<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = match self.headers.as_ref().map(|headers| headers.bind(py)) {
            None => PyDict::new(py),
            Some(headers) => match headers.cast::<PyDict>() {
                Err(_) => {
                    let found = decode_headers(py, headers.cast::<PyBytes>()?.as_bytes().into())?;
                    if found.contains(deadline::HEADER)? {
                        found.del_item(deadline::HEADER)?;
                    }
                    found
                }
                Ok(given) if given.contains(deadline::HEADER)? => {
                    let found = given.copy()?;
                    found.del_item(deadline::HEADER)?;
                    found
                }
                Ok(given) => return Ok(given.clone()),
            },
        };
        self.headers = Some(found.clone().into_any().unbind());
        Ok(found)
    }

    #[pyo3(signature = (data, headers=None))]
    fn respond<'py>(
        slf: &Bound<'py, Self>,
        data: Bound<'py, PyAny>,
        headers: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if slf.borrow().sent.is_some() {
            return Err(already_responded(slf)?);
        }
        let data = if data.is_exact_instance_of::<PyBytes>() { data } else { exact_bytes(data)? };
        let headers = match headers {
            Some(headers) if headers.is_truthy()? => {
                Some(py.get_type::<PyDict>().call1((headers,))?.unbind())
            }
            _ => None,
        };
        let mut request = slf.borrow_mut();
        if headers.is_some() {
            request.sent_headers = headers;
        }
        request.sent = Some(data.unbind());
        Ok(known::DONE.get(py)?.clone())
    }

    fn answered<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Response>> {
        let py = slf.py();
        let request = slf.borrow();
        let sent = request.sent.as_ref().map(|sent| sent.bind(py).clone());
        let headers = request.sent_headers.as_ref().map(|headers| headers.bind(py).clone());
        drop(request);
        let sent = sent.unwrap_or_else(|| py.None().into_bound(py));
        let response = Bound::new(py, Response::of(&sent, headers.as_ref())?)?;
        slf.borrow_mut().response = Some(response.clone().into_any().unbind());
        Ok(response)
    }

    #[getter]
    pub fn patience(&self) -> Option<f64> {
        self.patience.get()
    }

    #[setter]
    fn set_patience(&mut self, seconds: Option<f64>) {
        self.patience = seconds.into();
    }

    #[getter]
    fn deadline(&self) -> Option<f64> {
        self.deadline.get()
    }

    #[setter]
    fn set_deadline(&mut self, moment: Option<f64>) {
        self.deadline = moment.into();
    }

    #[getter]
    fn expired(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.expired)
    }

    #[setter]
    fn set_expired(&mut self, expired: bool) {
        self.rare().expired = expired;
    }

    #[getter]
    fn failure(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.rare.as_ref()?.failure.as_ref().map(|failure| failure.clone_ref(py))
    }

    #[setter]
    fn set_failure(&mut self, failure: Option<Py<PyAny>>) {
        self.rare().failure = failure;
    }

    #[getter]
    fn state(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let state = &mut self.rare().state;
        if let Some(state) = state {
            return Ok(state.clone_ref(py));
        }
        let made = known::NAMESPACE.get(py)?.call0()?.unbind();
        Ok(state.insert(made).clone_ref(py))
    }

    fn share_state(&mut self, origin: &Bound<'_, PyAny>) -> PyResult<()> {
        let shared = origin.getattr(intern!(origin.py(), "state"))?.unbind();
        self.rare().state = Some(shared);
        Ok(())
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // The subjects are bytes, which refer to nothing.
        for each in [&self.data, &self.headers, &self.sent, &self.sent_headers, &self.response] {
            visit.call(each)?;
        }
        match &self.rare {
            Some(rare) => [&rare.state, &rare.failure].into_iter().try_for_each(|e| visit.call(e)),
            None => Ok(()),
        }
    }

    fn __clear__(&mut self) {
        *self = NatsRequest::default();
    }
}

fn already_responded(request: &Bound<'_, NatsRequest>) -> PyResult<PyErr> {
    let py = request.py();
    let subject = request.call_method0(intern!(py, "subject"))?.repr()?;
    let text = format!("the request to {} has been answered", subject.to_string_lossy());
    Ok(PyErr::from_value(known::ALREADY_RESPONDED.get(py)?.call1((text,))?))
}

fn exact_bytes(data: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    if data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>()
    {
        return data.py().get_type::<PyBytes>().call1((data,));
    }
    let kind = data.get_type().name()?;
    Err(PyTypeError::new_err(format!("answer must be bytes, not {}", kind.to_string_lossy())))
}

/// Returns the requests of messages, each made when it is asked for.
#[pyfunction]
pub fn requests_of(messages: Bound<'_, PyList>) -> Requests {
    Requests { messages: messages.unbind(), next: 0 }
}

#[pyclass(module = "natsmicro_native")]
pub struct Requests {
    messages: Py<PyList>,
    next: usize,
}

#[pymethods]
impl Requests {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<NatsRequest>> {
        let messages = self.messages.bind(py);
        if self.next >= messages.len() {
            return Ok(None);
        }
        let message = messages.get_item(self.next)?;
        self.next += 1;
        NatsRequest::of_message(message.cast::<PyTuple>()?).map(Some)
    }
}

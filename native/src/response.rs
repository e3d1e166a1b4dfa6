//! The answer to a request as middlewares see it; see `micro/_handlers/request.py`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

/// Only what each request needs; the other methods are those of the specification.
#[pyclass(subclass, module = "micro")]
#[derive(Default)]
pub struct Response {
    #[pyo3(get, set, name = "_data")]
    data: Option<Py<PyAny>>,
    #[pyo3(get, set, name = "_headers")]
    headers: Option<Py<PyAny>>,
}

/// A payload of any type; the middleware that gives None makes the mistake, and is told of it.
#[derive(FromPyObject)]
struct Given(Py<PyAny>);

impl Given {
    fn nothing() -> Self {
        Given(Python::attach(|py| PyBytes::new(py, b"").into_any().unbind()))
    }
}

impl Response {
    /// Returns the response with a payload, and with a copy of headers.
    pub fn of(data: &Bound<'_, PyAny>, headers: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let headers = match headers {
            Some(headers) if headers.is_truthy()? => {
                Some(data.py().get_type::<PyDict>().call1((headers,))?.unbind())
            }
            _ => None,
        };
        Ok(Response { data: Some(data.clone().unbind()), headers })
    }
}

#[pymethods]
impl Response {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        Response::default()
    }

    #[pyo3(signature = (data=Given::nothing(), headers=None))]
    fn __init__(
        &mut self,
        py: Python<'_>,
        data: Given,
        headers: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        *self = Response::of(data.0.bind(py), headers.as_ref())?;
        Ok(())
    }

    fn data(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.data.as_ref().map(|data| data.clone_ref(py))
    }

    pub fn answer(&self, py: Python<'_>) -> (Option<Py<PyAny>>, Option<Py<PyAny>>) {
        (self.data(py), self.headers.as_ref().map(|headers| headers.clone_ref(py)))
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.data)?;
        visit.call(&self.headers)
    }

    fn __clear__(&mut self) {
        *self = Response::default();
    }
}

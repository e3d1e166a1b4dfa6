//! Header blocks and dicts of headers; see `micro/_protocol/headers.py`.

use std::borrow::Cow;

use natsmicro_wire::{deadline, headers};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

/// Returns the headers of a received block; see `micro/_protocol/headers.py`.
#[pyfunction]
pub fn decode_headers<'py>(py: Python<'py>, block: Cow<'_, [u8]>) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    headers::read(&block, |name, value| match std::str::from_utf8(value) {
        Ok(text) => found.set_item(name, text),
        Err(_) => {
            let bytes = PyBytes::new(py, value);
            let text = PyString::from_encoded_object(&bytes, Some(c"utf-8"), Some(c"replace"))?;
            found.set_item(name, text)
        }
    })?;
    Ok(found)
}

/// Returns the header block of headers, with the time-out of a request if it has one; None if Python
/// must check the headers.
pub fn block_of(given: Option<&Bound<'_, PyAny>>, seconds: Option<f64>) -> Option<Vec<u8>> {
    let mut block = headers::Block::default();
    if let Some(given) = given {
        for (name, value) in given.cast_exact::<PyDict>().ok()?.iter() {
            let (name, value) = (name.cast::<PyString>().ok()?, value.cast::<PyString>().ok()?);
            let name = name.to_str().ok()?;
            if name == deadline::HEADER || !block.add(name, value.to_str().ok()?) {
                return None;
            }
        }
    }
    if let Some(seconds) = seconds {
        block.add_number(deadline::HEADER, (seconds * 1000.0).max(0.0) as u64);
    }
    Some(block.finish())
}

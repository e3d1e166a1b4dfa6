//! The bytes of NATS without Python: what this crate finds in them depends on nothing else.
//!
//! The Python modules of the same names in `micro` are the specification of each function here.
#![forbid(unsafe_code)]

pub mod frames;

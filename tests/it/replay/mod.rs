//! `replay`: what lies in a lake, derived again under other mappings.

mod evidence;
pub mod place;
mod plan;
mod swap;

//! Documents of other tools, read. One module a contract; each is given a reader and knows no file.

pub mod device;
mod document;
mod error;
mod hashing;
mod text;
pub mod workflow;

pub use error::DocumentError;
pub use hashing::HashingReader;

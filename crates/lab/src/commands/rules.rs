//! `lab rules`: the rules of validity, as `docs/validity.md` has them.

use crate::exit::Exit;
use crate::failure::Result;
use crate::terminal::print;

pub(crate) fn carry_out() -> Result<Exit> {
    print(&lab_formats::validity_doc::validity_markdown())?;
    Ok(Exit::Pass)
}

//! `lab metrics`: the metric table, as `docs/metrics.md` has it.

use crate::exit::Exit;
use crate::failure::Result;
use crate::terminal::print;

pub(crate) fn carry_out() -> Result<Exit> {
    print(&lab_formats::metrics_doc::metrics_markdown())?;
    Ok(Exit::Pass)
}

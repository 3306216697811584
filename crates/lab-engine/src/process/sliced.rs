//! A request that is worked on in slices, between which the whole process group is stopped.
//!
//! ```text
//!   engine   ███·····███·····██        stamps of the answer:  ████████
//!   paused      └───┘   └───┘                                 request … first token
//! ```
//!
//! A pause begins when the kernel says that the process has stopped and ends when it is told to go on. What passes from the
//! signal to the stop, and from the signal to the first instruction, counts as the engine's own time: some tens of
//! microseconds a slice, the same for whatever engine.

use std::ops::Range;
use std::sync::atomic::Ordering;

use lab_core::clock::nanoseconds;
use lab_core::engine::{EngineError, Request, Tokens};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::{Process, Silence, tokens_of};

/// What an engine was asked for and has not answered yet.
pub(super) struct Sliced {
    request: Request,
    /// Every pause so far, by the harness's clock.
    pauses: Vec<Range<u64>>,
    /// When the last slice ended.
    paused_ns: u64,
    /// How long the engine may still work.
    left_ns: u64,
}

impl Process<'_> {
    /// Asks, and waits for the answer no longer than a slice. The engine is paused where none came.
    pub(super) fn ask_sliced(
        &mut self,
        request: Request,
        slice_ns: u64,
    ) -> Result<Option<Tokens>, EngineError> {
        let left_ns = nanoseconds(self.start.generate_timeout);
        let sent = self.send(&request, self.clock.now_ns().saturating_add(left_ns));
        self.work(Sliced { request, pauses: Vec::new(), paused_ns: 0, left_ns }, sent, slice_ns)
    }

    /// Lets a paused engine work for one slice more.
    pub(super) fn resume(&mut self, slice_ns: u64) -> Result<Option<Tokens>, EngineError> {
        let Some(mut sliced) = self.sliced.take() else {
            return Err(EngineError::Failed { message: "this engine is not paused".to_owned() });
        };
        sliced.pauses.push(sliced.paused_ns..self.clock.now_ns());
        let resumed = self.signal(Signal::CONT).map_err(|errno| cannot("go on", errno));
        self.work(sliced, resumed, slice_ns)
    }

    /// Waits for the answer for one slice, where the engine was asked or let go on.
    fn work(
        &mut self,
        mut sliced: Sliced,
        begun: Result<(), Silence>,
        slice_ns: u64,
    ) -> Result<Option<Tokens>, EngineError> {
        let began_ns = self.clock.now_ns();
        let slice_ns = slice_ns.min(sliced.left_ns);
        let waited = begun
            .and_then(|()| self.wait_for(&self.answers, PollFlags::IN, began_ns.saturating_add(slice_ns)));
        let line = match waited {
            Err(Silence::Deadline) if slice_ns < sliced.left_ns => match self.pause() {
                Ok(()) => {
                    sliced.paused_ns = self.clock.now_ns();
                    sliced.left_ns = sliced.left_ns.saturating_sub(sliced.paused_ns - began_ns);
                    self.sliced = Some(sliced);
                    return Ok(None);
                }
                Err(silence) => Err(silence),
            },
            waited => waited.and_then(|()| self.read_frame(began_ns.saturating_add(sliced.left_ns))),
        };
        let answer = self.answer(line, &sliced.request, self.start.generate_timeout)?;
        let tokens = tokens_of(answer)?;
        match tokens.stamps_ns.iter().all(|stamp_ns| *stamp_ns <= self.clock.now_ns()) {
            true => Ok(Some(without(tokens, &sliced.pauses))),
            false => {
                let message = "its stamps lie outside the time between question and answer".to_owned();
                Err(EngineError::Protocol { message })
            }
        }
    }

    /// Stops the process group and waits until its leader stands still, or is gone.
    fn pause(&self) -> Result<(), Silence> {
        let Some(child) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return Ok(()) };
        self.signal(Signal::STOP).map_err(|errno| cannot("be paused", errno))?;
        // An end is left for whoever asks for it.
        let until = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(child), until), Err(Errno::INTR)) {
            if self.start.interrupted.load(Ordering::Relaxed) {
                return Err(Silence::Interrupted);
            }
        }
        Ok(())
    }
}

fn cannot(what: &str, errno: Errno) -> Silence {
    Silence::NoFrame(format!("its processes cannot {what}, although it says that it is pausable: {errno}"))
}

/// Moves each stamp up by the pauses between the request and itself.
fn without(tokens: Tokens, pauses: &[Range<u64>]) -> Tokens {
    let request_ns = tokens.request_ns;
    let paused_ns = |stamp_ns: u64| -> u64 {
        let before =
            pauses.iter().map(|pause| pause.end.min(stamp_ns).saturating_sub(pause.start.max(request_ns)));
        before.sum()
    };
    let stamps_ns = tokens.stamps_ns.iter().map(|stamp_ns| stamp_ns - paused_ns(*stamp_ns)).collect();
    Tokens { stamps_ns, ..tokens }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_the_request_and_a_stamp_are_left_out_and_no_others() {
        let tokens = Tokens { ids: vec![1, 2], stamps_ns: vec![400, 900], ..Tokens::none(100) };
        let moved = |pauses: &[Range<u64>]| without(tokens.clone(), pauses).stamps_ns;
        assert_eq!(moved(&[]), [400, 900]);
        assert_eq!(moved(&[150..200, 300..310]), [340, 840]);
        assert_eq!(moved(&[150..200, 500..650]), [350, 700]);
        assert_eq!(moved(&[10..60, 60..70]), [400, 900]);
        assert_eq!(moved(&[50..110, 950..990]), [390, 890]);
    }

    #[test]
    fn a_stamp_before_its_request_stays_where_it_is() {
        let tokens = Tokens { ids: vec![1], stamps_ns: vec![50], ..Tokens::none(100) };
        assert_eq!(without(tokens, &[10..40, 60..80]).stamps_ns, [50]);
    }
}

use super::Context;
use super::args::DoctorArgs;
use super::exit::{Exit, Failure};
pub(super) fn run(_: &DoctorArgs, _: &Context) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}

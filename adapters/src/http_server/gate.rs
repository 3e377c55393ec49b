//! What a request meets before the app does: who may ask.

mod admission;
mod allowed;
mod refusal;
mod rules;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use self::admission::Admitted;
pub use self::admission::{Admission, CODE_LIFETIME};
pub(super) use self::admission::{CODES_PATH, with_code};
pub use self::allowed::{AllowedHost, AllowedOrigin, InvalidHost, InvalidOrigin};
pub use self::refusal::Refusal;
pub use self::rules::{HostPolicy, Rules};

/// Who may ask.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Access {
    /// Under which names.
    pub hosts: HostPolicy,
    /// From which web origins, next to the server's own. What they may read is said by CORS headers, which are the app's.
    pub origins: Vec<AllowedOrigin>,
    /// With which secrets, if any.
    pub admission: Option<Admission>,
}

/// [`Access`] to one server, ready for its requests.
#[derive(Debug)]
pub(super) struct Gate {
    rules: Rules,
    admission: Option<Admission>,
}

impl Gate {
    pub(super) fn new(access: &Access, port: u16) -> Self {
        Self {
            rules: Rules::new(&access.hosts, &access.origins, port),
            admission: access.admission.clone(),
        }
    }

    /// The answer to a request that the app isn't to see.
    pub(super) fn stop<B>(
        &self,
        request: &mut Request<B>,
        unread: bool,
    ) -> Option<Response<Full<Bytes>>> {
        if let Err(refusal) = self.rules.judge(request) {
            return Some(refusal.answer(unread));
        }
        match self.admission.as_ref()?.judge(request) {
            Admitted::Yes => {
                admission::hide_secrets(request.headers_mut());
                None
            }
            Admitted::Answered(answer) => Some(answer),
            Admitted::No(refusal) => Some(refusal.answer(unread)),
        }
    }
}

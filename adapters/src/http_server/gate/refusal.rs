//! What somebody is told who isn't let in: problem details (RFC 9457), all of it written beforehand. Nothing of a request
//! ever stands in them.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// Why a request isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It names no host, or several.
    NotOneHost,
    /// A header that decides stands there twice.
    Doubled,
    /// Its target isn't one for its method, names another host than `Host`, or its version isn't spoken here.
    BadTarget,
    /// It is meant for a name that isn't this server's.
    ForeignHost,
    /// A page of another origin sent it.
    ForeignOrigin,
    /// Another site had a browser send it, and it isn't somebody who follows a link.
    CrossSite,
    /// It doesn't show the token.
    NoToken,
    /// Codes for links are asked for by POST.
    NotPost,
    /// The app, or the system, has failed. Nobody is refused by that.
    Broken,
}

/// The form of all bodies.
macro_rules! problem {
    ($status:literal, $kind:literal, $title:literal, $detail:literal) => {
        concat!(
            r#"{"type":"https://github.com/daymark-rs/daymark/blob/main/docs/problems.md#"#,
            $kind,
            r#"","title":""#,
            $title,
            r#"","status":"#,
            $status,
            r#","detail":""#,
            $detail,
            "\"}\n"
        )
    };
}

impl Refusal {
    /// The status of its answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NotOneHost | Self::Doubled | Self::BadTarget => StatusCode::BAD_REQUEST,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn body(self) -> &'static str {
        match self {
            Self::NotOneHost => problem!(
                "400",
                "not-one-host",
                "Not one host",
                "A request has exactly one Host header."
            ),
            Self::Doubled => problem!(
                "400",
                "doubled-header",
                "Doubled header",
                "Origin and the Sec-Fetch headers stand in a request at most once."
            ),
            Self::BadTarget => problem!(
                "400",
                "bad-target",
                "Bad request target",
                "The target does not go with the method, the Host header or the version of HTTP."
            ),
            Self::ForeignHost => problem!(
                "421",
                "foreign-host",
                "Not this server's name",
                "This server answers only to its own address with its port, and to names that it was told to allow."
            ),
            Self::ForeignOrigin => problem!(
                "403",
                "foreign-origin",
                "Foreign origin",
                "Pages of other origins may not send requests to this server."
            ),
            Self::CrossSite => problem!(
                "403",
                "cross-site",
                "Cross-site request",
                "Other sites may link to this server, and have a browser send it nothing else."
            ),
            Self::NoToken => problem!(
                "401",
                "no-token",
                "Token required",
                "This server asks for its token, or for a link made by daymark open."
            ),
            Self::NotPost => problem!(
                "405",
                "not-post",
                "Only POST",
                "A code for a link is asked for by POST."
            ),
            Self::Broken => problem!("500", "broken", "Failed", "The server failed to answer."),
        }
    }

    /// The answer. It ends the connection where the request's body wasn't read, or where it isn't clear what the request was.
    pub(in crate::http_server) fn answer(self, unread: bool) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::new(Bytes::from_static(self.body().as_bytes())));
        *answer.status_mut() = self.status();
        let mut say = |name: HeaderName, value| {
            answer
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        };
        say(CONTENT_TYPE, "application/problem+json");
        say(CACHE_CONTROL, "no-store");
        say(X_CONTENT_TYPE_OPTIONS, "nosniff");
        match self {
            Self::NoToken => say(WWW_AUTHENTICATE, "Bearer"),
            Self::NotPost => say(ALLOW, "POST"),
            _ => {}
        }
        if unread || self.status() == StatusCode::BAD_REQUEST {
            say(CONNECTION, "close");
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_is_a_problem_whose_status_is_that_of_its_answer() {
        for refusal in [
            Refusal::NotOneHost,
            Refusal::Doubled,
            Refusal::BadTarget,
            Refusal::ForeignHost,
            Refusal::ForeignOrigin,
            Refusal::CrossSite,
            Refusal::NoToken,
            Refusal::NotPost,
            Refusal::Broken,
        ] {
            let body: serde_json::Value = serde_json::from_str(refusal.body()).unwrap();
            assert_eq!(body["status"], refusal.status().as_u16(), "{refusal:?}");
            for member in ["type", "title", "detail"] {
                assert!(body[member].is_string(), "{refusal:?} {member}");
            }
            assert_eq!(body.as_object().unwrap().len(), 4, "{refusal:?}");
            let answer = refusal.answer(true);
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
            assert_eq!(answer.headers()[CONNECTION], "close");
        }
    }
}

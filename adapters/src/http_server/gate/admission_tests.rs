use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn admission() -> Admission {
    Admission::new(TOKEN.parse().unwrap(), InstanceId::from_bits(7)).unwrap()
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

fn get(admission: &Admission, target: &str, headers: &[(&str, &str)]) -> Admitted {
    admission.judge(&request("GET", target, headers))
}

/// A code, as a client gets it.
fn code(admission: &Admission) -> String {
    admission
        .new_code(Instant::now())
        .unwrap()
        .reveal()
        .to_owned()
}

#[track_caller]
fn answer(admitted: Admitted) -> Response<Full<Bytes>> {
    match admitted {
        Admitted::Answered(answer) => answer,
        Admitted::Yes => panic!("it went on to the app"),
        Admitted::No(refusal) => panic!("{refusal:?}"),
    }
}

#[track_caller]
fn assert_refused(admitted: &Admitted) {
    assert!(matches!(admitted, Admitted::No(Refusal::NoToken)));
}

#[test]
fn without_the_token_nobody_gets_through() {
    let admission = admission();
    let last_wrong = format!("Bearer {}0", &TOKEN[..31]);
    let cookie = format!("daymark-{}={TOKEN}", InstanceId::from_bits(7));
    let query = format!("/?token={TOKEN}&daymark-code={TOKEN}");
    for (target, headers) in [
        ("/", vec![]),
        ("/", vec![("authorization", "Bearer")]),
        ("/", vec![("authorization", "Bearer ")]),
        ("/", vec![("authorization", TOKEN)]),
        ("/", vec![("authorization", last_wrong.as_str())]),
        (
            "/",
            vec![("authorization", "Basic 0123456789abcdef0123456789abcdef")],
        ),
        // The token is for programs alone, and not in an address.
        ("/", vec![("cookie", cookie.as_str())]),
        (query.as_str(), vec![]),
        ("/?daymark-code=", vec![]),
    ] {
        assert_refused(&get(&admission, target, &headers));
    }
    let bearer = format!("Bearer {TOKEN}");
    let twice = [("authorization", bearer.as_str()); 2];
    assert_refused(&get(&admission, "/", &twice));
}

#[test]
fn the_token_gets_through_as_a_bearer() {
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {TOKEN}");
        let admitted = get(&admission(), "/a?b", &[("authorization", &value)]);
        assert!(matches!(admitted, Admitted::Yes), "{scheme}");
    }
}

#[test]
fn a_code_becomes_a_cookie_and_leaves_the_address() {
    let admission = admission();
    let link = format!("/a%20b?x=1&daymark-code={}&&y=%2F", code(&admission));
    let answer = answer(get(&admission, &link, &[]));
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()[LOCATION], "/a%20b?x=1&&y=%2F");
    assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers()[REFERRER_POLICY], "no-referrer");
    let set = answer.headers()[SET_COOKIE].to_str().unwrap();
    let (cookie, flags) = set.split_once("; ").unwrap();
    assert_eq!(flags, "Path=/; HttpOnly; SameSite=Strict");
    let name = format!("daymark-{}=", InstanceId::from_bits(7));
    assert!(
        cookie.starts_with(&name) && !cookie.contains(TOKEN),
        "{cookie}"
    );

    for cookies in [cookie.to_owned(), format!("a=b; {cookie};c=d")] {
        let admitted = get(&admission, "/", &[("cookie", &cookies)]);
        assert!(matches!(admitted, Admitted::Yes), "{cookies}");
    }
    let admitted = get(&admission, "/", &[("cookie", "a=b"), ("cookie", cookie)]);
    assert!(matches!(admitted, Admitted::Yes));
}

#[test]
fn a_cookie_of_another_run_is_none() {
    let [one, other] = [(); 2].map(|()| admission());
    let set = answer(get(&one, &format!("/?daymark-code={}", code(&one)), &[]));
    let cookie = set.headers()[SET_COOKIE].to_str().unwrap();
    let (cookie, _) = cookie.split_once(';').unwrap();
    assert_refused(&get(&other, "/", &[("cookie", cookie)]));
}

#[test]
fn a_code_works_once() {
    let admission = admission();
    let link = format!("/?daymark-code={}", code(&admission));
    assert_eq!(answer(get(&admission, &link, &[])).headers()[LOCATION], "/");
    assert_refused(&get(&admission, &link, &[]));
}

#[test]
fn a_code_expires() {
    let admission = admission();
    let now = Instant::now();
    let [fresh, old] = [(); 2].map(|()| admission.new_code(now).unwrap());
    let nearly = now + CODE_LIFETIME - Duration::from_millis(1);
    assert!(admission.redeem(fresh.reveal().as_bytes(), nearly));
    assert!(!admission.redeem(old.reveal().as_bytes(), now + CODE_LIFETIME));
}

#[test]
fn only_so_many_codes_wait() {
    let admission = admission();
    let now = Instant::now();
    let codes: Vec<_> = (0..=MOST_CODES)
        .map(|_| admission.new_code(now).unwrap())
        .collect();
    assert!(!admission.redeem(codes[0].reveal().as_bytes(), now));
    assert!(admission.redeem(codes[1].reveal().as_bytes(), now));
    assert!(admission.redeem(codes[MOST_CODES].reveal().as_bytes(), now));
}

#[test]
fn only_following_a_link_uses_its_code_up() {
    let admission = admission();
    let link = format!("/?daymark-code={}", code(&admission));
    for request in [
        request("HEAD", &link, &[]),
        request("POST", &link, &[]),
        request("GET", &link, &[("upgrade", "websocket")]),
    ] {
        assert_refused(&admission.judge(&request));
    }
    assert_eq!(
        answer(get(&admission, &link, &[])).status(),
        StatusCode::SEE_OTHER
    );
}

#[test]
fn who_is_known_loses_a_spent_code_from_the_address_and_gets_no_second_cookie() {
    let bearer = format!("Bearer {TOKEN}");
    let link = "/a?daymark-code=spent&b";
    let answer = answer(get(&admission(), link, &[("authorization", &bearer)]));
    assert_eq!(answer.headers()[LOCATION], "/a?b");
    assert!(!answer.headers().contains_key(SET_COOKIE));
}

#[test]
fn the_redirect_never_leaves_this_server_and_keeps_the_path() {
    let admission = admission();
    for (path, location) in [
        ("//evil.example/", "/.//evil.example/"),
        ("/\\evil.example/", "/./\\evil.example/"),
        ("/a//b", "/a//b"),
    ] {
        let link = format!("{path}?daymark-code={}", code(&admission));
        let answer = answer(get(&admission, &link, &[]));
        assert_eq!(answer.headers()[LOCATION], location);
    }
}

#[test]
fn codes_are_given_for_the_token_alone_and_by_post() {
    let admission = admission();
    let bearer = [("authorization", &*format!("Bearer {TOKEN}"))];
    let given = answer(admission.judge(&request("POST", CODES_PATH, &bearer)));
    assert_eq!(given.status(), StatusCode::CREATED);
    assert_eq!(given.headers()[CACHE_CONTROL], "no-store");
    let by_get = get(&admission, CODES_PATH, &bearer);
    assert!(matches!(by_get, Admitted::No(Refusal::NotPost)));

    let set = answer(get(
        &admission,
        &format!("/?daymark-code={}", code(&admission)),
        &[],
    ));
    let cookie = set.headers()[SET_COOKIE].to_str().unwrap();
    let (cookie, _) = cookie.split_once(';').unwrap();
    for headers in [vec![], vec![("cookie", cookie)]] {
        assert_refused(&admission.judge(&request("POST", CODES_PATH, &headers)));
    }
}

#[test]
fn what_lets_one_in_is_not_shown_when_a_request_is() {
    let mut shown = request("GET", "/", &[("authorization", TOKEN), ("cookie", TOKEN)]);
    shown
        .headers_mut()
        .append(COOKIE, HeaderValue::from_static(TOKEN));
    hide_secrets(shown.headers_mut());
    assert!(!format!("{shown:?}").contains(TOKEN));
    assert_eq!(format!("{:?}", admission()), "Admission(…)");
}

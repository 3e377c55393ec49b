//! What a record is made of is valid, or can't be made.

use proptest::prelude::*;

use super::*;

#[test]
fn an_endpoint_is_loopback_or_nothing() {
    for bad in ["0.0.0.0:80", "127.0.0.2:80", "127.0.0.1:0", "[::]:80"] {
        assert!(
            Endpoint::try_from(bad.parse::<SocketAddr>().unwrap()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn only_the_exact_url_is_read_back() {
    for bad in [
        "http://localhost:80/",
        "http://127.0.0.1:080/",
        "http://127.0.0.1:80",
        "https://127.0.0.1:80/",
        "http://[0:0:0:0:0:0:0:1]:80/",
    ] {
        assert_eq!(Endpoint::from_url(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_url_names_its_endpoint(port: NonZeroU16, v6: bool) {
        let endpoint = if v6 { Endpoint::v6(port) } else { Endpoint::v4(port) };
        prop_assert_eq!(Endpoint::from_url(&endpoint.url()), Some(endpoint));
    }

    #[test]
    fn a_made_name_is_valid_and_stays_as_it_is(text in ".{0,80}") {
        if let Some(name) = Name::made_from(&text) {
            prop_assert_eq!(name.as_str().parse::<Name>(), Ok(name.clone()));
            prop_assert_eq!(Name::made_from(name.as_str()), Some(name));
        }
    }

    #[test]
    fn no_name_leaves_its_directory(text in ".{0,80}") {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert!(!name.as_str().contains(['/', '\\', '\0']));
            prop_assert!(!name.as_str().starts_with('.'));
        }
    }

    #[test]
    fn an_instance_id_reads_back(bits: u128) {
        let id = InstanceId::from_bits(bits);
        prop_assert_eq!(id.to_string().parse::<InstanceId>(), Ok(id));
    }
}

#[test]
fn a_token_tells_nobody() {
    let token: Token = "0123456789abcdef".parse().unwrap();
    assert_eq!(format!("{token:?}"), "Token(…)");
}

#[test]
fn the_nearest_name_is_made_of_any_text() {
    for (text, name) in [
        ("My API (v2)", Some("my-api--v2")),
        ("..hidden", Some("hidden")),
        ("--", None),
        ("", None),
    ] {
        assert_eq!(Name::made_from(text).as_ref().map(Name::as_str), name);
    }
}

#[test]
fn a_name_says_itself_and_a_wrong_one_says_no_more_than_it_must() {
    let longest = "a".repeat(64);
    assert_eq!(longest.parse::<Name>().unwrap().to_string(), longest);
    let error = "a".repeat(1_000).parse::<Name>().unwrap_err();
    assert_eq!(error, InvalidName("a".repeat(65)));
}

#[test]
fn an_instance_id_is_32_lower_case_digits_and_nothing_else() {
    let id = InstanceId::from_bits(0xabc);
    assert_eq!(format!("{id:?}"), format!("InstanceId({id})"));
    for wrong in [
        "",
        "abc",
        "00000000000000000000000000000ABC",
        "+0000000000000000000000000000abc",
        "000000000000000000000000000000abc",
        "0000000000000000000000000000000g",
    ] {
        assert_eq!(
            wrong.parse::<InstanceId>(),
            Err(InvalidInstanceId),
            "{wrong}"
        );
    }
}

#[test]
fn a_token_is_16_to_128_plain_characters() {
    let longest = "x".repeat(128);
    for right in ["0123456789abcdef", "ABCDEFGHIJKLM-_z", longest.as_str()] {
        let token: Token = right.parse().unwrap();
        assert_eq!(token.reveal(), right);
    }
    let too_long = "x".repeat(129);
    for wrong in [
        "0123456789abcde",
        "0123456789abcde!",
        "0123456789 abcdef",
        too_long.as_str(),
    ] {
        assert_eq!(wrong.parse::<Token>(), Err(InvalidToken), "{wrong}");
    }
}

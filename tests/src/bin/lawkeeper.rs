//! `lawkeeper KIND LAW`: tries a law of servers with a child process, behind a listener of that kind.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use daymark_adapters::http_server::run_hidden_verb;
    use daymark_tests::contract::child_process::try_law;

    let mut arguments = std::env::args_os().skip(1);
    if let Some(code) = run_hidden_verb(std::env::args_os().skip(1)) {
        return code;
    }
    let mut next = || {
        let argument = arguments.next().unwrap_or_default();
        argument.to_string_lossy().into_owned()
    };
    let (kind, law) = (next(), next());
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(try_law(&kind, &law)),
        Err(_) => return std::process::ExitCode::FAILURE,
    }
    std::process::ExitCode::SUCCESS
}

#[cfg(not(target_os = "linux"))]
fn main() {}

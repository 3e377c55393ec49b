//! The programs that `docs/discovery.md` prints.

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/discovery.md");

/// The only fenced block of the page with this tag, without its fence.
///
/// # Panics
///
/// If there is none, or more than one.
#[must_use]
pub fn program(tag: &str) -> String {
    let page = std::fs::read_to_string(PAGE).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    let fence = format!("```{tag}");
    let mut lines = page.lines();
    assert!(
        lines.any(|line| line == fence),
        "{PAGE} has no block that starts with {fence}"
    );
    let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
    assert!(
        lines.all(|line| line != fence),
        "{PAGE} has more than one block that starts with {fence}"
    );
    block.join("\n") + "\n"
}

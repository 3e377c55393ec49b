//! What stands in `docs/recipes.md`: a comment names what the fenced block after it is.

use std::collections::BTreeSet;
use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recipes.md");

/// The command line of a recipe.
pub(crate) fn recipe(name: &str) -> String {
    let blocks = blocks("recipe");
    let mut found = blocks.into_iter().filter(|(found, _)| found == name);
    let (_, line) = found
        .next()
        .unwrap_or_else(|| panic!("{PAGE} has no recipe {name}"));
    assert_eq!(found.next(), None, "{PAGE} has recipes of one name");
    line.trim_end().to_owned()
}

/// The names and texts of the files that the page shows.
pub(crate) fn files() -> Vec<(String, String)> {
    blocks("file")
}

/// The names and texts of the blocks that are marked `<!-- KIND: NAME -->`.
fn blocks(kind: &str) -> Vec<(String, String)> {
    let page = fs::read_to_string(PAGE).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    let mark = format!("<!-- {kind}: ");
    let mut lines = page.lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix(&mark) else {
            continue;
        };
        let name = name.strip_suffix(" -->").expect("the comment ends");
        let fence = lines.next().unwrap_or_default();
        assert!(fence.starts_with("```"), "no block after {line}");
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push((name.to_owned(), text.join("\n") + "\n"));
    }
    blocks
}

#[test]
fn every_recipe_has_a_test() {
    let on_page: BTreeSet<String> = blocks("recipe").into_iter().map(|(name, _)| name).collect();
    let tested = [
        crate::servers::TESTED,
        crate::tools::TESTED,
        crate::restarts::TESTED,
    ]
    .concat();
    assert_eq!(on_page, tested.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_command_line_of_the_page_is_a_marked_recipe_of_one_line() {
    let page = fs::read_to_string(PAGE).expect("the page");
    let lines: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("daymark "))
        .collect();
    let marked: Vec<String> = blocks("recipe")
        .into_iter()
        .map(|(_, line)| line.trim_end().to_owned())
        .collect();
    assert_eq!(lines, marked);
}

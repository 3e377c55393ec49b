use super::*;

fn stream(tail: &Tail) -> Stream {
    Stream::new(tail.clone(), Lines::unheard())
}

#[test]
fn lines_of_several_streams_stand_in_order_and_unfinished_ones_at_the_end() {
    let tail = Tail::default();
    let (mut out, mut err) = (stream(&tail), stream(&tail));
    out.cut(b"one\ntw");
    err.cut(b"oops\n");
    assert_eq!(tail.last(9), ["one", "oops", "tw"]);
    out.cut(b"o\n");
    err.cut(b"thread panicked");
    assert_eq!(tail.last(9), ["one", "oops", "two", "thread panicked"]);
    assert_eq!(tail.last(2), ["two", "thread panicked"]);
    assert!(tail.last(0).is_empty());
    drop(err);
    out.cut(b"three\n");
    assert_eq!(tail.last(2), ["thread panicked", "three"]);
}

#[test]
fn nothing_is_left_that_commands_a_terminal() {
    let tail = Tail::default();
    let mut out = stream(&tail);
    out.cut(b"\x1b[1;31mred\x1b[0m\x07\x00 \x1b]0;title\x07a\tb\x7f\xc2\x9b2J\r\n");
    assert_eq!(tail.last(1), ["red a\tb2J"]);
}

#[test]
fn a_sequence_that_comes_in_parts_is_one_and_an_unfinished_one_ends_with_its_line() {
    let tail = Tail::default();
    let mut out = stream(&tail);
    out.cut(b"a\x1b[3");
    out.cut(b"1mb\n\x1b]0;never ended\nstill here\n");
    assert_eq!(tail.last(3), ["ab", "", "still here"]);
}

#[test]
fn white_space_in_a_sequence_doesnt_end_it_wherever_the_output_is_cut() {
    let whole: &[u8] = b"a\x1b[\t31mb\n";
    for at in 0..whole.len() {
        let (first, second) = whole.split_at(at);
        assert_eq!(lines_of([first, second]).0, ["a\tb"], "{at}");
    }
}

#[test]
fn a_character_that_comes_in_parts_is_one_and_what_is_no_text_does_no_harm() {
    let tail = Tail::default();
    let mut out = stream(&tail);
    out.cut(b"sch\xc3");
    out.cut(b"\xb6n\n");
    out.cut(b"a\xff\xfe b\nc\n");
    let last = tail.last(3);
    assert_eq!(last[0], "schön");
    assert!(
        last[1].starts_with('a') && last[1].ends_with('b'),
        "{last:?}"
    );
    assert_eq!(last[2], "c");
}

#[test]
fn of_a_line_that_is_written_over_the_last_state_counts() {
    let tail = Tail::default();
    let mut out = stream(&tail);
    out.cut(b"10%\r20%\r");
    assert_eq!(tail.last(1), ["20%"]);
    out.cut(b"100%\r\nlast\r");
    out.cut(b"\n");
    assert_eq!(tail.last(2), ["100%", "last"]);
}

#[test]
fn what_is_kept_is_bounded() {
    let tail = Tail::default();
    let mut out = stream(&tail);
    for _ in 0..4 {
        out.cut(&vec![b'x'; 1024 * 1024]);
    }
    assert_eq!(tail.last(1)[0].len(), LONGEST_LINE);
    out.cut(b"\n");
    for line in 0..1000 {
        out.cut(format!("{line}\n").as_bytes());
    }
    let last = tail.last(usize::MAX);
    assert_eq!((last.len(), last[199].as_str()), (LINES, "999"));
    for _ in 0..40 {
        out.cut(&vec![b'x'; LONGEST_LINE - 1]);
        out.cut(b"\n");
    }
    let last = tail.last(usize::MAX);
    assert_eq!(last.len(), BYTES / (LONGEST_LINE - 1));
}

#[tokio::test]
async fn whoever_waits_for_lines_gets_each_when_it_is_complete() {
    let (lines, mut receiver) = Lines::channel();
    let mut out = Stream::new(Tail::default(), lines);
    out.push(b"\x1b[32mready\x1b[0m on 80").await;
    assert!(receiver.try_recv().is_err());
    out.push(b"81\nand").await;
    assert_eq!(receiver.recv().await.unwrap(), "ready on 8081");
    out.end().await;
    assert_eq!(receiver.recv().await.unwrap(), "and");
    assert!(receiver.recv().await.is_none());
}

#[tokio::test]
async fn whoever_does_not_read_lines_gets_no_more_and_holds_nobody_up() {
    let (lines, mut receiver) = Lines::channel();
    let mut out = Stream::new(Tail::default(), lines);
    let before = std::time::Instant::now();
    for _ in 0..4 * WAITING {
        out.push(b"line\n").await;
    }
    assert!(before.elapsed() < 3 * PATIENCE);
    let mut count = 0;
    while receiver.recv().await.is_some() {
        count += 1;
    }
    assert_eq!(count, WAITING);
}

//! What commands write to standard output and standard error. The standard macros
//! panic where nobody reads any more, as behind `| head`, and end the work of a command
//! half done.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::Once;

/// Writes an answer to standard output.
macro_rules! answer {
    ($($text:tt)*) => { $crate::cli::answer::write_out(format_args!($($text)*)) };
}

/// Writes an answer to standard output, and ends its line.
macro_rules! answer_line {
    ($($text:tt)*) => { $crate::cli::answer::write_out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Says something to standard error, and ends its line.
macro_rules! say_line {
    () => { $crate::cli::answer::say(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::answer::say(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to standard output. A reader that has gone away has had enough; that
/// nothing could be written for another reason is said once.
pub fn write_out(text: Arguments<'_>) {
    static SAID: Once = Once::new();
    if let Err(error) = std::io::stdout().write_fmt(text)
        && error.kind() != ErrorKind::BrokenPipe
    {
        SAID.call_once(|| say(format_args!("the answer could not be written: {error}\n")));
    }
}

/// Writes to standard error, if anybody reads it.
pub fn say(text: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

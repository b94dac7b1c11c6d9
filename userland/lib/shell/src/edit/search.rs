//! Ctrl-R: looks for a text in the lines typed before, from the last one back.

use super::{BELL, Editor, prompt_room, view};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

/// Most characters of the text to look for.
const TEXT_MAX: usize = 256;

/// A search that goes on.
#[derive(Default)]
pub(super) struct Search {
    text: String,
    /// The lines back in the history of the line that is shown; 0: none was found yet.
    back: usize,
    /// The line before the search, and its cursor.
    before: (Vec<char>, usize),
    /// The prompt before the search.
    prompt: String,
}

impl Editor<'_> {
    /// Begins a search.
    pub(super) fn begin_search(&mut self, out: &mut Vec<u8>) {
        self.partial.clear();
        self.search = Some(Search {
            before: (self.line.clone(), self.cursor),
            prompt: take(&mut self.prompt),
            ..Search::default()
        });
        self.look(0, out);
    }

    /// Processes a key during a search. Returns true if that is all it means; any other
    /// key ends the search and is a key of the line that was found.
    pub(super) fn search_key(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let Some(search) = &mut self.search else {
            return false;
        };
        match byte {
            // Ctrl-R: further back.
            0x12 => {
                let next = search.back + 1;
                self.look(next, out);
            }
            8 | 0x7f => {
                search.text.pop();
                self.look(1, out);
            }
            // Ctrl-G: the line as it was.
            7 => {
                let (line, cursor) = take(&mut search.before);
                (self.line, self.cursor) = (line, cursor);
                self.end_search(out);
            }
            b' '.. => {
                let at = search.back.max(1);
                if let Some(text) = self.character(byte)
                    && let Some(search) = &mut self.search
                {
                    if search.text.chars().count() + text.chars().count() > TEXT_MAX {
                        out.push(BELL);
                        return true;
                    }
                    search.text.push_str(&text);
                    self.look(at, out);
                }
            }
            _ => {
                self.end_search(out);
                return false;
            }
        }
        true
    }

    /// Shows the last line with the text, from that many lines back on.
    fn look(&mut self, from: usize, out: &mut Vec<u8>) {
        let Some(search) = &mut self.search else {
            return;
        };
        let mut what = "search";
        if from > 0 && !search.text.is_empty() {
            let lines = (from..).map_while(|back| Some((back, self.history.back(back)?)));
            let mut found =
                lines.filter_map(|(back, line)| Some((back, line, line.find(&search.text)?)));
            match found.next() {
                Some((back, line, at)) => {
                    search.back = back;
                    self.cursor = line.get(..at).unwrap_or("").chars().count();
                    self.line = line.chars().collect();
                }
                None => {
                    what = "not found";
                    out.push(BELL);
                }
            }
        }
        let text: String = search.text.chars().map(view::shown).collect();
        let prompt = format!("{what} `{text}': ");
        self.prompt = view::fitting(&prompt, prompt_room(self.columns));
        self.redraw(out);
    }

    fn end_search(&mut self, out: &mut Vec<u8>) {
        if let Some(search) = self.search.take() {
            self.prompt = search.prompt;
            self.back = 0;
            self.redraw(out);
        }
    }
}

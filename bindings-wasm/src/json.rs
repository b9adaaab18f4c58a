//! [`Json`]: a reader of JSON that knows what it expects. A page reads one genesis file and some settings, all whole numbers,
//! words and lists: a general reader, which knows fractions and every type, would be a tenth of the module.

use std::borrow::Cow;

/// Deepest nesting of what is passed over.
const MAX_DEPTH: u32 = 32;

/// A text that is not what was expected, in words, with the byte where that was seen.
pub(crate) type Unexpected = String;

/// A text in JSON, and how far it was read.
pub(crate) struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Reads the whole text as an object: see [`object`](Self::object).
    pub(crate) fn document(
        text: &'a str,
        member: &mut dyn FnMut(&str, &mut Self) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        let mut json = Self::new(text);
        json.object(member)?;
        if json.peek().is_some() { Err(json.unexpected("the end")) } else { Ok(()) }
    }

    /// Reads an object. `member` gets each name, and reads its value.
    pub(crate) fn object(
        &mut self,
        member: &mut dyn FnMut(&str, &mut Self) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        self.list(b'{', b'}', &mut |json| {
            let name = json.string()?;
            json.expect(b':')?;
            member(&name, json)
        })
    }

    /// Reads an array. `element` reads each of its values.
    pub(crate) fn array(
        &mut self,
        element: &mut dyn FnMut(&mut Self) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        self.list(b'[', b']', element)
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        element: &mut dyn FnMut(&mut Self) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        self.expect(open)?;
        if self.takes(close) {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.takes(close) {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Unexpected> {
        self.expect(b'"')?;
        let mut read = Cow::Borrowed("");
        loop {
            let plain = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f));
            match &mut read {
                Cow::Borrowed("") => read = Cow::Borrowed(plain),
                more => more.to_mut().push_str(plain),
            }
            if self.takes_now(b'"') {
                return Ok(read);
            }
            if !self.takes_now(b'\\') {
                return Err(self.unexpected("the end of a string"));
            }
            let sign = self.escaped().ok_or_else(|| self.unexpected("an escape of JSON"))?;
            read.to_mut().push(sign);
        }
    }

    /// The sign that an escape stands for.
    fn escaped(&mut self) -> Option<char> {
        let sign = self.now()?;
        self.at += 1;
        Some(match sign {
            b'"' | b'\\' | b'/' => char::from(sign),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                // The first half of a sign beyond the first 65,536: the second must follow.
                let second = (self.takes_now(b'\\') && self.takes_now(b'u')).then(|| self.unit()).flatten()?;
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low);
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.bytes().try_fold(0, |number, digit| Some(number << 4 | char::from(digit).to_digit(16)?))
    }

    /// Reads a whole number.
    pub(crate) fn number(&mut self) -> Result<u64, Unexpected> {
        self.peek();
        let digits = self.digits();
        let is_whole = !matches!(self.now(), Some(b'.' | b'e' | b'E'));
        let is_canonical = digits.len() == 1 || !digits.starts_with('0');
        let number = if is_whole && is_canonical { digits.parse().ok() } else { None };
        number.ok_or_else(|| self.unexpected("a whole number from 0 to 2^64 - 1"))
    }

    /// Reads a whole number of a smaller type.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Unexpected> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| self.unexpected("a smaller number"))
    }

    fn digits(&mut self) -> &'a str {
        self.take_while(|byte| byte.is_ascii_digit())
    }

    /// Takes the bytes that are meant, which must be whole characters.
    fn take_while(&mut self, meant: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.now().is_some_and(&meant) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, Unexpected> {
        if self.word("true") {
            return Ok(true);
        }
        if self.word("false") { Ok(false) } else { Err(self.unexpected("true or false")) }
    }

    /// Whether `null` stands here, which is read then.
    pub(crate) fn null(&mut self) -> bool {
        self.word("null")
    }

    /// Passes over a value, whatever it is.
    pub(crate) fn skip(&mut self) -> Result<(), Unexpected> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, depth: u32) -> Result<(), Unexpected> {
        let Some(inner) = depth.checked_sub(1) else { return Err(self.unexpected("fewer levels")) };
        match self.peek() {
            Some(b'{') => self.object(&mut |_, json| json.skip_within(inner)),
            Some(b'[') => self.array(&mut |json| json.skip_within(inner)),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ if self.null() || self.word("true") || self.word("false") => Ok(()),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn skip_number(&mut self) -> Result<(), Unexpected> {
        self.takes_now(b'-');
        let whole = self.digits();
        let mut is_number = whole.len() == 1 || !(whole.is_empty() || whole.starts_with('0'));
        if self.takes_now(b'.') {
            is_number &= !self.digits().is_empty();
        }
        if self.takes_now(b'e') || self.takes_now(b'E') {
            let _ = self.takes_now(b'+') || self.takes_now(b'-');
            is_number &= !self.digits().is_empty();
        }
        if is_number { Ok(()) } else { Err(self.unexpected("a number")) }
    }

    /// The byte that comes next.
    fn now(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The byte that comes next behind white space, which is passed over.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.now() {
            self.at += 1;
        }
        self.now()
    }

    /// Whether `byte` comes next, which is read then.
    fn takes_now(&mut self, byte: u8) -> bool {
        let is_next = self.now() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The same behind white space.
    fn takes(&mut self, byte: u8) -> bool {
        self.peek();
        self.takes_now(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unexpected> {
        if self.takes(byte) { Ok(()) } else { Err(self.unexpected(char::from(byte).encode_utf8(&mut [0; 4]))) }
    }

    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let is_next = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Words for a place where something else stands than what was `wanted`.
    pub(crate) fn unexpected(&self, wanted: &str) -> Unexpected {
        format!("{wanted} was expected at byte {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a text is a value, as the reader passes over it, and as serde_json does.
    fn is_value(text: &str) -> (bool, bool) {
        let mut json = Json::new(text);
        let read = json.skip().is_ok() && json.peek().is_none();
        (read, serde_json::from_str::<serde_json::Value>(text).is_ok())
    }

    #[test]
    fn a_value_is_what_serde_json_says() {
        let texts = [
            r#"{"a": [1, -2.5e+10, "x\"\\\/\b\f\n\r\t\u00e9", null, true, false, {}, []], "b":{"c":0.0E-1}} "#,
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "[1 2]",
            "nul",
            "nulll",
            "truefalse",
            "01",
            "-",
            "-0",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "1.5.5",
            "\"",
            "\"a",
            "\"\n\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\u0041""#,
            r#""\udc00""#,
            r#""\u+123""#,
            "[1]x",
            "\u{feff}1",
            "\"ä€😀\"",
        ];
        for text in texts {
            let (ours, theirs) = is_value(text);
            assert_eq!(ours, theirs, "{text}");
            // Cut and bent anywhere, too.
            for at in (0..text.len()).filter(|&at| text.is_char_boundary(at)) {
                for more in ["", "\"", "\\", "1", "]"] {
                    let bent = format!("{}{more}{}", &text[..at], &text[at..]);
                    let cut = format!("{}{more}", &text[..at]);
                    for text in [bent, cut] {
                        let (ours, theirs) = is_value(&text);
                        // Numbers that are too large for a double are numbers all the same.
                        assert!(ours == theirs || ours && text.contains(['e', 'E']), "{text}");
                    }
                }
            }
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(
            (is_value(&nested(MAX_DEPTH as usize)).0, is_value(&nested(MAX_DEPTH as usize + 1)).0),
            (true, false)
        );
    }

    #[test]
    fn strings_and_numbers_are_those_that_serde_json_reads() {
        for text in [r#""""#, r#""abc""#, r#""a\nb\u00e9ä\ud83d\ude00\"""#, r#""\\\\""#, r#""\u0000""#] {
            let theirs: String = serde_json::from_str(text).unwrap();
            assert_eq!(Json::new(text).string().unwrap(), theirs);
        }
        for text in ["0", "7", "18446744073709551615", " 12 "] {
            assert_eq!(Json::new(text).number().ok(), serde_json::from_str(text).ok(), "{text}");
        }
        for text in ["18446744073709551616", "-1", "1.0", "1e3", "01", "", "x", "\"1\"", "null"] {
            assert!(Json::new(text).number().is_err(), "{text}");
        }
        assert_eq!((Json::new("65535").small::<u16>(), Json::new("65536").small::<u16>().is_err()), (Ok(65535), true));
        assert_eq!((Json::new("true").boolean(), Json::new("1").boolean().is_err()), (Ok(true), true));
    }
}

//! A row of a text result, read by column name: columns move and are added between versions.

use std::str::FromStr;

use crate::read::ReadError;

/// One row.
pub(crate) struct Row(pub(crate) mysql_async::Row);

impl Row {
    /// The column's text; `None` for NULL.
    pub(crate) fn maybe(&self, column: &str) -> Result<Option<String>, ReadError> {
        let index = self
            .0
            .columns_ref()
            .iter()
            .position(|c| c.name_str().eq_ignore_ascii_case(column))
            .ok_or_else(|| ReadError::Column { column: column.to_owned() })?;
        match self.0.as_ref(index) {
            None | Some(mysql_async::Value::NULL) => Ok(None),
            Some(mysql_async::Value::Bytes(bytes)) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
            // The text protocol sends bytes only; any other kind would be a fault of the driver.
            Some(other) => Err(ReadError::Value {
                column: column.to_owned(),
                text: format!("{other:?}"),
                wanted: "text",
            }),
        }
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.0.columns_ref().iter().any(|c| c.name_str().eq_ignore_ascii_case(column))
    }

    /// The column's text; NULL is an error.
    pub(crate) fn text(&self, column: &str) -> Result<String, ReadError> {
        self.maybe(column)?.ok_or_else(|| ReadError::Null { column: column.to_owned() })
    }

    /// The column parsed.
    pub(crate) fn parse<T: FromStr>(&self, column: &str, wanted: &'static str) -> Result<T, ReadError> {
        parse(column, &self.text(column)?, wanted)
    }

    /// A boolean system variable: `1`/`0` in a SELECT, `ON`/`OFF` in a SHOW.
    pub(crate) fn flag(&self, column: &str) -> Result<bool, ReadError> {
        flag(column, &self.text(column)?)
    }
}

pub(crate) fn parse<T: FromStr>(column: &str, text: &str, wanted: &'static str) -> Result<T, ReadError> {
    text.trim().parse().map_err(|_| ReadError::Value {
        column: column.to_owned(),
        text: text.to_owned(),
        wanted,
    })
}

pub(crate) fn flag(column: &str, text: &str) -> Result<bool, ReadError> {
    match text.trim().to_ascii_uppercase().as_str() {
        "1" | "ON" | "YES" => Ok(true),
        "0" | "OFF" | "NO" => Ok(false),
        _ => Err(ReadError::Value { column: column.to_owned(), text: text.to_owned(), wanted: "on or off" }),
    }
}

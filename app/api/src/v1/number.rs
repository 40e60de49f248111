//! Whole numbers as JSON has them.

use serde::Deserialize;

/// A whole number: to JSON 420.0 is one as well as 420 (and to JSON Schema, in which the API is described).
pub fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    /// Whole numbers up to here have an exact form among floating-point numbers: 2^53.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    struct Whole;
    impl serde::de::Visitor<'_> for Whole {
        type Value = u64;
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a whole number that is not negative")
        }
        fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }
        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<u64, E> {
            if number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it was just looked at"
                )]
                return Ok(number as u64);
            }
            Err(E::invalid_value(serde::de::Unexpected::Float(number), &self))
        }
    }
    deserializer.deserialize_any(Whole)
}

/// The same, or null.
pub fn whole_maybe<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Number(#[serde(deserialize_with = "whole")] u64);
    Ok(Option::<Number>::deserialize(deserializer)?.map(|Number(number)| number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Asked {
        #[serde(deserialize_with = "whole")]
        n: u64,
        #[serde(default, deserialize_with = "whole_maybe")]
        maybe: Option<u64>,
    }

    #[test]
    fn a_whole_number_is_one_in_either_form() {
        for (text, number) in [("0", 0), ("420", 420), ("420.0", 420), ("4.2e2", 420), ("-0.0", 0)] {
            let asked: Asked =
                serde_json::from_str(&format!("{{\"n\": {text}, \"maybe\": {text}}}")).expect(text);
            assert_eq!((asked.n, asked.maybe), (number, Some(number)), "{text}");
        }
        for wrong in ["-1", "1.5", "1e300", "\"4\"", "null", "true", "[1]"] {
            assert!(
                serde_json::from_str::<Asked>(&format!("{{\"n\": {wrong}}}")).is_err(),
                "{wrong} was taken"
            );
        }
        for none in ["{\"n\": 1}", "{\"n\": 1, \"maybe\": null}"] {
            assert_eq!(serde_json::from_str::<Asked>(none).expect(none).maybe, None);
        }
    }
}

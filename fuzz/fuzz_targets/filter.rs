//! Reads any JSON as a filter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plushie_search::filter::Filter;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = serde_json::from_slice(data)
        && let Ok(filter) = Filter::parse(&value)
    {
        filter.keys();
    }
});

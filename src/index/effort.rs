//! How much of an approximate index a search looks at.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The settings of one search; by default those that were measured for the index. Exact segments ignore them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effort {
    /// The lists that are probed (faiss's `nprobe`), in an index that has lists.
    pub nprobe: Option<usize>,
    /// The rows that are kept in view (faiss's `efSearch`), in a graph.
    pub ef_search: Option<usize>,
    /// For each row that is wanted, how many are compared by their full vectors: at least 1.
    pub k_factor: Option<f32>,
}

impl Effort {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] for one that makes no sense.
    pub fn check(&self) -> Result<()> {
        for (name, number) in [("nprobe", self.nprobe), ("ef_search", self.ef_search)] {
            if number == Some(0) {
                return Err(Error::argument(format!("{name} 0: give at least 1")));
            }
        }
        match self.k_factor {
            Some(factor) if !(factor.is_finite() && factor >= 1.0) => {
                Err(Error::argument(format!("k_factor {factor}: give a finite number, 1 or more")))
            }
            _ => Ok(()),
        }
    }
}

/// How much one kind of query looks at, and what it finds so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Lists that are probed, or rows that are kept in view.
    pub looked: usize,
    /// For each row that is wanted, how many are compared by their full vectors.
    pub k_factor: f32,
    /// The measured share of the exact best 10 items; `None` where nothing was measured.
    pub recall: Option<f32>,
    /// The same for the best 10 of one in 10 and of one in 100 items, which lie farther away; `None` where nothing was measured.
    #[serde(default)]
    pub rare: [Option<Look>; RARE.len()],
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Lists that are probed, or rows that are kept in view.
    pub looked: usize,
    /// For each row that is wanted, how many are compared by their full vectors.
    pub k_factor: f32,
}

/// One in so many items may be found.
pub(super) const RARE: [usize; 2] = [10, 100];

impl Setting {
    /// How much is looked at where one in `rarity` rows may be found: between measured numbers by their powers, and beyond as
    /// many times as much, or more if that is how it grew.
    pub(super) fn at(&self, rarity: f64) -> Look {
        let (mut rarest, mut looked, mut k_factor, mut power) =
            (1.0, self.looked as f64, f64::from(self.k_factor), 1.0);
        for (number, look) in RARE.iter().zip(self.rare).filter_map(|(number, look)| Some((*number as f64, look?))) {
            let more = (look.looked as f64 / looked).max(1.0);
            let wider = (f64::from(look.k_factor) / k_factor).max(1.0);
            let share = (rarity / rarest).max(1.0).ln() / (number / rarest).ln();
            if share <= 1.0 {
                return Look::new(looked * more.powf(share), k_factor * wider.powf(share));
            }
            power = more.ln() / (number / rarest).ln();
            (rarest, looked, k_factor) = (number, looked * more, k_factor * wider);
        }
        Look::new(looked * (rarity / rarest).max(1.0).powf(power.max(1.0)), k_factor)
    }
}

impl Look {
    fn new(looked: f64, k_factor: f64) -> Self {
        Self { looked: looked.ceil() as usize, k_factor: k_factor as f32 }
    }
}

/// What was measured for an index.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// For queries by pictures, items and vectors.
    pub pictures: Setting,
    /// For queries by texts.
    pub texts: Setting,
    /// So many rows are compared by their full vectors in the time that a search takes.
    pub few: usize,
    /// How many rows were wanted of each search, for 10 items; 0 where nothing was measured.
    #[serde(default)]
    pub width: usize,
}

impl Tuned {
    /// The setting of a kind of query.
    pub(super) fn of(&self, texts: bool) -> &Setting {
        if texts { &self.texts } else { &self.pictures }
    }

    /// How much a search for `width` rows looks at where one in `rarity` rows may be found: the best 100 lie as far away as the
    /// best 10 of a tenth.
    pub(super) fn look(&self, texts: bool, width: usize, rarity: f64) -> Look {
        let wider = if self.width == 0 { 1.0 } else { (width as f64 / self.width as f64).max(1.0) };
        self.of(texts).at(rarity * wider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_rows_are_looked_for_farther_away() {
        let look = |looked, k_factor| Some(Look { looked, k_factor });
        let setting = Setting { looked: 2, k_factor: 4.0, recall: None, rare: [look(20, 4.0), look(2000, 16.0)] };
        let at = |rarity: f64| (setting.at(rarity).looked, setting.at(rarity).k_factor);
        assert_eq!([at(0.5), at(1.0), at(10.0)], [(2, 4.0), (2, 4.0), (20, 4.0)]);
        assert!((6..=7).contains(&at(10_f64.sqrt()).0), "{:?}", at(10_f64.sqrt()));
        assert_eq!(at(1000.0), (200_000, 16.0));
        let less = Setting { rare: [look(1, 1.0), None], ..setting };
        assert_eq!(
            (less.at(10.0), less.at(20.0)),
            (Look { looked: 2, k_factor: 4.0 }, Look { looked: 4, k_factor: 4.0 })
        );
        let unknown = Setting { rare: [None; 2], ..setting };
        assert_eq!(unknown.at(3.0), Look { looked: 6, k_factor: 4.0 });
        let tuned = Tuned { pictures: setting, texts: unknown, few: 0, width: 11 };
        assert_eq!((tuned.look(false, 110, 1.0).looked, tuned.look(false, 5, 1.0).looked), (20, 2));
        assert_eq!(Tuned { width: 0, ..tuned }.look(false, 110, 1.0).looked, 2);
    }
}

//! The same thing of every engine, side by side.

use super::quiet;
use crate::run::Result;

/// Something of each engine, or why there is none.
pub struct Sides<T> {
    /// Docker Engine's.
    pub docker: Result<T>,
    /// Podman's.
    pub podman: Result<T>,
    /// Ours.
    pub linkspan: Result<T>,
}

impl<T> Sides<T> {
    /// Does something once with each.
    pub fn each<U>(&mut self, mut action: impl FnMut(&mut T) -> Result<U>) -> Sides<U> {
        let mut one = |side: &mut Result<T>| side.as_mut().map_err(|why| why.clone()).and_then(&mut action);
        Sides { docker: one(&mut self.docker), podman: one(&mut self.podman), linkspan: one(&mut self.linkspan) }
    }

    /// Looks at each.
    pub fn look<U>(&self, look: impl Fn(&T) -> Result<U>) -> Sides<U> {
        let one = |side: &Result<T>| side.as_ref().map_err(String::clone).and_then(&look);
        Sides { docker: one(&self.docker), podman: one(&self.podman), linkspan: one(&self.linkspan) }
    }

    /// Measures in rounds, one engine after the other in each, when the one before has come to rest; gives the median of every figure.
    pub fn alternate<const N: usize>(
        &mut self,
        rounds: usize,
        mut measure: impl FnMut(&mut T) -> Result<[f64; N]>,
    ) -> [Sides<f64>; N] {
        let mut all = self.each(|_| Ok(Vec::new()));
        for _ in 0..rounds {
            measure_into(&mut all.docker, &mut self.docker, &mut measure);
            measure_into(&mut all.podman, &mut self.podman, &mut measure);
            measure_into(&mut all.linkspan, &mut self.linkspan, &mut measure);
        }
        std::array::from_fn(|n| all.look(|rounds| Ok(median(rounds.iter().map(|figures: &[f64; N]| figures[n])))))
    }

    /// Each with something else of its side.
    pub fn with<U>(&mut self, other: Sides<U>) -> Sides<(&mut T, U)> {
        fn pair<T, U>(side: &mut Result<T>, other: Result<U>) -> Result<(&mut T, U)> {
            let other = other?;
            side.as_mut().map(|one| (one, other)).map_err(|why| why.clone())
        }
        Sides {
            docker: pair(&mut self.docker, other.docker),
            podman: pair(&mut self.podman, other.podman),
            linkspan: pair(&mut self.linkspan, other.linkspan),
        }
    }

    /// Each joined with the other's same side.
    pub fn zip<U, V>(self, other: Sides<U>, join: impl Fn(T, U) -> V) -> Sides<V> {
        fn one<T, U, V>(this: Result<T>, other: Result<U>, join: impl Fn(T, U) -> V) -> Result<V> {
            Ok(join(this?, other?))
        }
        Sides {
            docker: one(self.docker, other.docker, &join),
            podman: one(self.podman, other.podman, &join),
            linkspan: one(self.linkspan, other.linkspan, &join),
        }
    }
}

fn measure_into<T, F>(
    rounds: &mut Result<Vec<F>>,
    side: &mut Result<T>,
    measure: &mut impl FnMut(&mut T) -> Result<F>,
) {
    if let (Ok(figures), Ok(engine)) = (rounds.as_mut(), side.as_mut()) {
        quiet::wait();
        match measure(engine) {
            Ok(figure) => figures.push(figure),
            Err(why) => *rounds = Err(why),
        }
    }
}

/// The middle of the figures; the upper one of two, not a number of none.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_fails_leaves_the_other() {
        let mut sides = Sides { docker: Ok(1.0), podman: Err("none".to_owned()), linkspan: Ok(2.0) };
        let mut round = 0.0;
        let [figures] = sides.alternate(3, |side| {
            round += 1.0;
            if *side == 1.0 && round > 2.0 { Err("gone".to_owned()) } else { Ok([round]) }
        });
        assert_eq!((figures.docker, figures.linkspan), (Err("gone".to_owned()), Ok(4.0)));
    }

    #[test]
    fn medians() {
        let check = |figures: &[f64], expected: f64| assert_eq!(median(figures.iter().copied()), expected);
        check(&[3.0], 3.0);
        check(&[9.0, 1.0, 4.0], 4.0);
        check(&[4.0, 1.0], 4.0);
    }
}

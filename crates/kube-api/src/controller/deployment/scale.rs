//! How many pods each ReplicaSet of a deployment gets.

use super::{Rollout, age, available, revision, size};

impl Rollout<'_> {
    /// Gives a set another size, or only the note of the deployment's present one, and tells people of the former.
    pub fn resize(&mut self, index: usize, replicas: i32) {
        let before = size(&self.sets[index]);
        if before != replicas {
            self.set_size(index, replicas);
        }
    }

    fn set_size(&mut self, index: usize, replicas: i32) {
        let before = size(&self.sets[index]);
        let sizes = self.sizes();
        let set = &mut self.sets[index];
        set.metadata.annotations.get_or_insert_default().extend(sizes);
        if let Some(spec) = &mut set.spec {
            spec.replicas = Some(replicas);
        }
        if before != replicas {
            let way = if before < replicas { "up" } else { "down" };
            let name = self.sets[index].metadata.name.clone().unwrap_or_default();
            self.say("ScalingReplicaSet", format!("Scaled {way} replica set {name} from {before} to {replicas}"));
        }
    }

    /// The deployment's size has changed since one of its sets was last scaled.
    pub fn is_scaling(&self) -> bool {
        let active = self.sets.iter().filter(|set| size(set) > 0);
        active.filter_map(|set| revision::sizes_at_scaling(set).0).any(|desired| desired != self.wanted())
    }

    /// Follows a change of the deployment's size, in the middle of a rollout in proportion.
    pub fn scale(&mut self) {
        let wanted = self.wanted();
        let active: Vec<_> = (0..self.sets.len()).filter(|index| size(&self.sets[*index]) > 0).collect();
        match active.as_slice() {
            [] => {
                if let Some(latest) = self.new.or(self.sets.len().checked_sub(1)) {
                    self.resize(latest, wanted);
                }
            }
            [only] => self.resize(*only, wanted),
            _ if self.is_saturated() => {
                let new = self.new;
                for index in active.into_iter().filter(|index| Some(*index) != new) {
                    self.resize(index, 0);
                }
            }
            _ if !self.recreates() => self.scale_in_proportion(active),
            _ => {}
        }
        // A set that has the right size already is told of the deployment's, or this would seem to be a scaling for ever.
        for index in 0..self.sets.len() {
            let set = &self.sets[index];
            if size(set) > 0 && revision::sizes_at_scaling(set).0.is_some_and(|desired| desired != wanted) {
                self.set_size(index, size(set));
            }
        }
    }

    fn is_saturated(&self) -> bool {
        self.new.map(|index| &self.sets[index]).is_some_and(|set| {
            let wanted = self.wanted();
            size(set) == wanted && revision::sizes_at_scaling(set).0 == Some(wanted) && available(set) == wanted
        })
    }

    fn scale_in_proportion(&mut self, mut active: Vec<usize>) {
        let total: i32 = active.iter().map(|index| size(&self.sets[*index])).sum();
        let allowed = if self.wanted() > 0 { self.wanted() + self.slack().0 } else { 0 };
        let to_add = allowed - total;
        // The biggest first; of equals the newer one grows and the older one shrinks.
        active.sort_by(|a, b| {
            let (a, b) = (&self.sets[*a], &self.sets[*b]);
            let by_age = if to_add > 0 { age(b).cmp(&age(a)) } else { age(a).cmp(&age(b)) };
            size(b).cmp(&size(a)).then(by_age)
        });
        let mut added = 0;
        let mut sizes = Vec::new();
        for index in active {
            let left = to_add - added;
            let share = self.share(index);
            let share = if to_add > 0 { share.min(left) } else { share.max(left) };
            let share = if to_add == 0 || left == 0 { 0 } else { share };
            added += share;
            sizes.push((index, size(&self.sets[index]) + share));
        }
        if let Some(first) = sizes.first_mut() {
            first.1 = (first.1 + to_add - added).max(0);
        }
        for (index, replicas) in sizes {
            self.set_size(index, replicas);
        }
    }

    /// By how much a set would change if all changed alike.
    fn share(&self, index: usize) -> i32 {
        let set = &self.sets[index];
        if self.wanted() == 0 {
            return -size(set);
        }
        let most = f64::from(self.wanted() + self.slack().0);
        let before = revision::sizes_at_scaling(set).1.filter(|most| *most > 0).or(self.status.replicas).unwrap_or(0);
        if before == 0 {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a product of two numbers of pods over one of them")]
        let size_then = (f64::from(size(set)) * most / f64::from(before)).round() as i32;
        size_then - size(set)
    }

    /// The size that the surge allows the set with the current template.
    pub fn size_for_new(&self) -> i32 {
        let Some(new) = self.new.map(|index| size(&self.sets[index])) else { return 0 };
        if self.recreates() {
            return self.wanted();
        }
        // A set that was told to shrink has its pods until it has done so.
        let occupied = |set| size(set).max(self.pods_of(set));
        let room = self.wanted() + self.slack().0 - self.sets.iter().map(occupied).sum::<i32>();
        if room <= 0 { new } else { new + room.min(self.wanted() - new) }
    }

    /// One step up with the new pods; says whether there was one.
    pub fn grow_new(&mut self) -> bool {
        let Some(new) = self.new else { return false };
        let before = size(&self.sets[new]);
        let replicas = if before > self.wanted() { self.wanted() } else { self.size_for_new() };
        self.resize(new, replicas);
        before != replicas
    }

    /// One step down with the old pods: first those that do not serve, then as many as can be spared. Says whether there was one.
    pub fn shrink_old(&mut self) -> bool {
        let total: i32 = self.sets.iter().map(size).sum();
        let needed = self.wanted() - self.slack().1;
        let starting = self.new.map_or(0, |new| size(&self.sets[new]) - available(&self.sets[new]));
        let mut spare = total - needed - starting;
        if spare <= 0 {
            return false;
        }
        let old: Vec<_> = self.old().collect();
        let before: i32 = old.iter().map(|index| size(&self.sets[*index])).sum();
        for index in &old {
            let set = &self.sets[*index];
            let unhealthy = (size(set) - available(set)).clamp(0, spare);
            spare -= unhealthy;
            self.resize(*index, size(set) - unhealthy);
        }
        // What a set was told to give up is no longer to be counted on.
        let mut surplus = self.sets.iter().map(|set| available(set).min(size(set))).sum::<i32>() - needed;
        for index in &old {
            let set = &self.sets[*index];
            let down = size(set).min(surplus.max(0));
            surplus -= down;
            self.resize(*index, size(set) - down);
        }
        before != old.iter().map(|index| size(&self.sets[*index])).sum::<i32>()
    }
}

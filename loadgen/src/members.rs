//! Open connections, in no order, each of which knows its place.

use throng::ConnId;

/// The open connections of one worker, to take turns among them. 8 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Members {
    ids: Vec<ConnId>,
    turn: usize,
}

/// Where a connection stands in the list.
pub(crate) type Place = u32;

impl Members {
    /// Adds one, and says where.
    pub(crate) fn add(&mut self, id: ConnId) -> Place {
        self.ids.push(id);
        (self.ids.len() - 1) as Place
    }

    /// Removes the one at `place`. The one that takes its place has to be told.
    pub(crate) fn remove(&mut self, place: Place) -> Option<ConnId> {
        self.ids.swap_remove(place as usize);
        self.ids.get(place as usize).copied()
    }

    /// The one whose turn it is.
    pub(crate) fn next(&mut self) -> Option<ConnId> {
        if self.turn >= self.ids.len() {
            self.turn = 0;
        }
        let id = self.ids.get(self.turn).copied()?;
        self.turn += 1;
        Some(id)
    }
}

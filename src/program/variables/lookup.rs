//! From the name that the source has for a map to where it is kept.

use super::{At, Kept, Root, Variables};

impl Variables {
    /// The map of a name such as `main.sessions` or `main.cache.sessions`: a global variable, then
    /// fields, through pointers; and the name of its type.
    pub fn find(&self, name: &str) -> Option<(Kept, String)> {
        // `github.com/a/b.cache` has dots too: the variable with the longest name that fits.
        let fits = |(place, at): &(u64, At)| {
            let own = self.text(*at, gimli::DW_AT_name)?;
            let rest = name.strip_prefix(&own)?;
            (rest.is_empty() || rest.starts_with('.')).then_some((own.len(), *place, *at))
        };
        let (len, place, variable) = self.globals.iter().filter_map(fits).max_by_key(|f| f.0)?;
        let mut at = self.type_of(variable)?;
        let mut offset = 0;
        let mut ends = Vec::new();
        for field in name.get(len..)?.split('.').skip(1) {
            if self.tag(at)? == gimli::DW_TAG_pointer_type {
                ends.push(offset);
                offset = 0;
                at = self.pointee(at)?;
            }
            let (start, inner) = self.member(at, field)?;
            offset += start;
            at = inner;
        }
        if self.tag(at)? == gimli::DW_TAG_pointer_type && !self.is_map(at) {
            ends.push(offset);
            offset = 0;
            at = self.pointee(at)?;
        }
        if !self.is_map(at) {
            return None;
        }
        ends.push(offset);
        let (first, steps) = ends.split_first()?;
        let kept = Kept {
            root: Root::Global(place.checked_add(*first)?),
            steps: steps.to_vec(),
        };
        Some((kept, self.text(at, gimli::DW_AT_name)?))
    }

    /// The names of the globals that are maps themselves, or structures, or point to structures, with
    /// fields that are: those of the program's own package first.
    pub fn maps(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (_, at) in &self.globals {
            if let (Some(name), Some(of)) = (self.text(*at, gimli::DW_AT_name), self.type_of(*at)) {
                let target = self.pointee(of).filter(|_| !self.is_map(of));
                self.maps_in(target.unwrap_or(of), name, 0, &mut names);
            }
        }
        names.sort_unstable_by_key(|name| (!name.starts_with("main."), name.clone()));
        names
    }

    fn maps_in(&self, of: At, name: String, depth: usize, names: &mut Vec<String>) {
        /// A structure in a structure; more is told of by its name alone.
        const DEEP: usize = 2;
        if self.is_map(of) {
            names.push(name);
        } else if depth < DEEP && self.tag(of) == Some(gimli::DW_TAG_structure_type) {
            for member in self.children(of) {
                let field = self.text(member, gimli::DW_AT_name);
                if let (Some(field), Some(of)) = (field, self.type_of(member)) {
                    self.maps_in(of, format!("{name}.{field}"), depth + 1, names);
                }
            }
        }
    }

    /// Offset and type of a structure's field.
    fn member(&self, at: At, field: &str) -> Option<(u64, At)> {
        let member = (self.children(at).into_iter())
            .find(|member| self.text(*member, gimli::DW_AT_name).as_deref() == Some(field))?;
        let start = self.number(member, gimli::DW_AT_data_member_location)?;
        Some((start, self.type_of(member)?))
    }
}

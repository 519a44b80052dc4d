//! clap; nobody else sees it.

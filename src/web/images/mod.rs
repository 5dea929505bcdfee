//! The pages of images: the list, one image and its tabs, and everything that can be done with one.

pub mod content;
pub mod deletion;
pub mod edit;
pub mod export;
pub mod file_form;
pub mod list;
pub mod selection;
pub mod show;
pub mod view;

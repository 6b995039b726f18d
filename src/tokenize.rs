//! Texts become token ids and a mask, as the model prescribes.

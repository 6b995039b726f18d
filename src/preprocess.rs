//! A picture becomes a pixel tensor, as the model prescribes.

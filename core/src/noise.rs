//! Noise IK (Noise rev. 34) over the crypto seam.

"""Swin UNETR (Hatamizadeh et al. 2022)."""

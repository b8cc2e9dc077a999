"""Controls of this project: each asks whether something simpler explains what LATA gains."""

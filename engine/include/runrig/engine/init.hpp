#pragma once

namespace runrig {

/// Call it first in main, before the program looks at its arguments:
///
///     int main(int argc, char** argv) {
///       runrig::init(argc, argv);
///
/// The start methods spawn and forkserver run this program anew, and what they make leaves main here: in such a process
/// init() does what the process was made for and never returns. In all others it notes that this can be done, and
/// returns. It is what `if __name__ == '__main__'` is in Python; without it, starting by those methods is a
/// std::logic_error (and nothing is started).
///
/// Such processes are known by one argument of a fixed form together with a descriptor that only this library makes.
/// Whoever types the argument by hand gets one line on stderr and exit code 2.
///
/// Once per process; further calls do nothing. From the main thread, before there is another.
void init(int argc, const char* const* argv);
inline void init(int argc, char** argv) { init(argc, const_cast<const char* const*>(argv)); }

}  // namespace runrig

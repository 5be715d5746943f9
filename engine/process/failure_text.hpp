#pragma once

#include <string>
#include <string_view>

namespace runrig::detail {

/// `text` with each byte that is not part of valid UTF-8, and each control character but tab and newline, replaced by
/// '?'. Messages come from processes that may have gone wrong, and end on terminals and in JSON.
[[nodiscard]] std::string valid_utf8(std::string_view text);

/// The C++ name of a type, from std::type_info::name().
[[nodiscard]] std::string demangled(const char* name);

/// "SIGSEGV"; "signal 37" where there is no name.
[[nodiscard]] std::string signal_name(int signal);

/// What is being thrown, as text. Call it in a catch block.
struct ExceptionText {
  std::string type;  ///< C++ name
  std::string text;  ///< what(), and that of nested exceptions; empty for types without
  bool out_of_memory = false;
};
[[nodiscard]] ExceptionText describe_current_exception();

}  // namespace runrig::detail

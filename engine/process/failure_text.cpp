#include "failure_text.hpp"

#include <cxxabi.h>
#include <string.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <typeinfo>

namespace runrig::detail {
namespace {

// The length of the well-formed UTF-8 sequence at the start of `text`; 0 if there is none (Unicode, table 3-7).
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](std::size_t i, unsigned low, unsigned high) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80)
    return first >= 0x20 && first != 0x7F ? 1 : static_cast<std::size_t>(first == '\n' || first == '\t');
  if (first >= 0xC2 && first <= 0xDF) return follows(1, 0x80, 0xBF) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;  // no surrogates
    return follows(1, low, high) && follows(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return follows(1, low, high) && follows(2, 0x80, 0xBF) && follows(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

void append_nested(const std::exception& error, std::string& text, int depth) {
  constexpr int deepest = 8;
  const auto* nested = dynamic_cast<const std::nested_exception*>(&error);
  // Thrown "with nested" while there was nothing to nest: rethrowing that is std::terminate.
  if (depth == deepest || nested == nullptr || nested->nested_ptr() == nullptr) return;
  try {
    nested->rethrow_nested();
  } catch (const std::exception& inner) {
    text.append(": ").append(inner.what());
    append_nested(inner, text, depth + 1);
  } catch (...) {
    text.append(": something that is no std::exception");
  }
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    std::size_t sound = 0;  // texts are long, and bad bytes rare
    while (sound < text.size()) {
      const std::size_t length = sequence_length(text.substr(sound));
      if (length == 0) break;
      sound += length;
    }
    valid.append(text.substr(0, sound));
    text.remove_prefix(sound);
    if (text.empty()) break;
    valid.push_back('?');
    text.remove_prefix(1);
  }
  return valid;
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 && text ? text.get() : name;
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

ExceptionText describe_current_exception() {
  ExceptionText description;
  if (const std::type_info* type = abi::__cxa_current_exception_type()) description.type = demangled(type->name());
  try {
    throw;
  } catch (const std::exception& error) {
    description.text = error.what();
    description.out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
    append_nested(error, description.text, 0);
  } catch (const std::string& text) {
    description.text = text;
  } catch (const char* text) {
    description.text = text;
  } catch (int number) {
    description.text = std::to_string(number);
  } catch (...) {
    // The type's name is all there is.
  }
  return description;
}

}  // namespace runrig::detail

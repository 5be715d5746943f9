#include "runrig/engine/remote_exception.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>

#include "exception_table.hpp"
#include "failure_text.hpp"
#include "runrig/channel/object.hpp"
#include "runrig/channel/pickle.hpp"

namespace runrig::detail {
namespace {

using pickle::Object;

constexpr std::size_t deepest = 8;
// What a record may have beyond its text; with the framing of the pickle it then stays below its limit.
constexpr std::size_t name_bytes = 1024;
constexpr std::size_t record_overhead = 2 * name_bytes + 512;
constexpr std::size_t number_bytes = 11;

/// The first `limit` bytes at most, in whole characters, with a note of what is missing if there is room for it.
std::string cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  constexpr std::size_t note_bytes = 40;
  if (limit < note_bytes) return {};
  std::size_t end = limit - note_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "... (" + std::to_string(text.size() - end) + " bytes more)";
}

std::string tidy(const char* text, std::size_t limit) {
  if (text == nullptr) return {};  // a what() that has nothing to say
  return cut(valid_utf8(cut(text, limit)), limit);
}

// The type that a wrapper of the standard library's (throw_with_nested) or of ours stands for: its first base.
const std::type_info& original_type(const std::type_info& type) {
  const auto* bases = dynamic_cast<const abi::__vmi_class_type_info*>(&type);
  if (bases == nullptr || bases->__base_count < 2) return type;
  const abi::__base_class_type_info* const base = bases->__base_info;  // declared with one element, has all
  const bool is_nesting = std::strncmp(type.name(), "St17_Nested_exception", 21) == 0;
  const bool is_ours = *base[1].__base_type == typeid(RemoteOrigin);
  const std::type_info& first = *base[0].__base_type;
  const bool is_both = *base[1].__base_type == typeid(std::nested_exception) && &original_type(first) != &first;
  return is_nesting || is_ours || is_both ? original_type(first) : type;
}

void name_type(ExceptionRecord& record, const std::type_info* thrown) {
  if (thrown == nullptr) return;
  const std::type_info& type = original_type(*thrown);
  record.type_id = type.name();
  record.type = cut(demangled(type.name()), name_bytes);
  if (record.type_id.size() > name_bytes) record.type_id.clear();  // is not found again, as if not registered
}

ExceptionRecord capture_chain(const std::exception_ptr& exception, std::size_t depth);

void add_nested(ExceptionRecord& record, const std::nested_exception* nested, std::size_t depth) {
  if (nested == nullptr || nested->nested_ptr() == nullptr || depth == deepest) return;
  record.nested.push_back(capture_chain(nested->nested_ptr(), depth + 1));
}

void fill(ExceptionRecord& record, const std::exception& error) {
  record.text = tidy(error.what(), max_exception_bytes);
  record.out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  if (const auto* coded = dynamic_cast<const std::system_error*>(&error)) {
    record.code = coded->code().value();
    record.category = tidy(coded->code().category().name(), 256);
  }
  if (const auto kind = find_exception_kind(record.type_id); kind && kind->collect != nullptr) {
    kind->collect(error, record);
  }
}

ExceptionRecord capture_chain(const std::exception_ptr& exception, std::size_t depth) {
  ExceptionRecord record;
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    name_type(record, abi::__cxa_current_exception_type());
    fill(record, error);
    add_nested(record, dynamic_cast<const std::nested_exception*>(&error), depth);
  } catch (const std::nested_exception& nested) {
    name_type(record, abi::__cxa_current_exception_type());
    add_nested(record, &nested, depth);
  } catch (const std::string& text) {
    record.type = "std::string";
    record.text = tidy(text.c_str(), max_exception_bytes);
  } catch (const char* text) {
    record.type = "char const*";
    record.text = tidy(text, max_exception_bytes);
  } catch (int number) {
    record.type = "int";
    record.text = std::to_string(number);
  } catch (...) {
    name_type(record, abi::__cxa_current_exception_type());  // all there is
  }
  return record;
}

// Shares the bytes of a whole record out: names first, then what the types are made from, then texts, outer ones first.
void fit(ExceptionRecord& record) {
  std::size_t records = 0;
  for (ExceptionRecord* each = &record; each != nullptr; each = each->nested.empty() ? nullptr : each->nested.data()) {
    ++records;
  }
  std::size_t left = max_exception_bytes - records * record_overhead;
  for (ExceptionRecord* each = &record; each != nullptr; each = each->nested.empty() ? nullptr : each->nested.data()) {
    std::size_t parts = each->numbers.size() * number_bytes;
    for (const std::string& text : each->texts) parts += 3 * text.size() + 16;  // as escape_text() makes it
    if (parts <= left / 2) {
      left -= parts;
    } else {
      each->numbers.clear();
      each->texts.clear();
    }
    each->text = cut(each->text, left);
    left -= each->text.size();
  }
}

std::string text_of(const ExceptionRecord& record) { return record.text.empty() ? record.type : record.text; }

Object object_from(const ExceptionRecord& record) {
  std::vector<Object> numbers(record.numbers.begin(), record.numbers.end());
  std::vector<Object> texts;
  for (const std::string& text : record.texts) texts.emplace_back(pickle::escape_text(text));
  return Object::tuple({record.type, record.type_id, record.text, record.code, record.category,
                        Object::list(std::move(numbers)), Object::list(std::move(texts)), record.out_of_memory,
                        record.nested.empty() ? Object() : object_from(record.nested.front())});
}

ExceptionRecord record_from(const Object& object, std::size_t depth) {
  if (depth > deepest) throw FormatError("read an exception", "pickle", "it is nested too deeply");
  const auto part = [&](std::size_t i) -> const Object& { return object.at(i); };
  ExceptionRecord record;
  record.type = valid_utf8(part(0).as_string());
  record.type_id = part(1).as_string();
  record.text = valid_utf8(part(2).as_string());
  record.code = static_cast<int>(part(3).as_int());
  record.category = part(4).as_string();
  for (const Object& number : part(5).items()) record.numbers.push_back(number.as_int());
  for (const Object& text : part(6).items()) record.texts.push_back(pickle::unescape_text(text.as_string()));
  record.out_of_memory = part(7).as_bool();
  if (!part(8).is_none()) record.nested.push_back(record_from(part(8), depth + 1));
  return record;
}

[[noreturn]] void raise(const ExceptionRecord& record, std::string_view worker_name, pid_t worker_pid) {
  const RemoteContext context{
      record, worker_name, worker_pid,
      std::string(worker_name) + " (process " + std::to_string(worker_pid) + "): " + describe(record)};
  // Returns if the record lacks what the type needs.
  if (const auto kind = find_exception_kind(record.type_id)) kind->raise(context);
  throw_remote<RemoteError>(context, record.type, record.text, worker_pid, worker_name);
}

}  // namespace

ExceptionRecord capture(const std::exception_ptr& exception) noexcept {
  ExceptionRecord record;
  if (exception == nullptr) return record;
  try {
    record = capture_chain(exception, 0);
    fit(record);
  } catch (const std::bad_alloc&) {
    record = {};
    record.out_of_memory = true;
    record.type = "unknown";  // short enough to need no memory
    record.text = "out of memory";
  } catch (...) {  // the description threw: the task has failed, the worker lives on
    record = {};
    record.type = "unknown";
    record.text = "not described";
  }
  return record;
}

std::string describe(const ExceptionRecord& record) {
  std::string text = record.type;
  if (!record.text.empty()) text.append(": ").append(record.text);
  const ExceptionRecord* each = &record;
  while (!each->nested.empty()) {
    each = &each->nested.front();
    text.append(": ").append(text_of(*each));
  }
  return text;
}

void encode(std::vector<std::byte>& out, const ExceptionRecord& record) { pickle::dumps_to(out, object_from(record)); }

ExceptionRecord decode_exception(std::span<const std::byte> bytes) {
  pickle::Limits limits;
  limits.max_bytes = 2 * max_exception_bytes;
  limits.source = "exception of another process";
  return record_from(pickle::loads(bytes, limits), 0);
}

void rethrow(const ExceptionRecord& record, std::string_view worker_name, pid_t worker_pid) {
  if (record.nested.empty()) raise(record, worker_name, worker_pid);
  try {
    rethrow(record.nested.front(), worker_name, worker_pid);
  } catch (...) {
    raise(record, worker_name, worker_pid);  // keeps what is being handled
  }
}

std::exception_ptr to_exception(const ExceptionRecord& record, std::string_view worker_name,
                                pid_t worker_pid) noexcept {
  try {
    rethrow(record, worker_name, worker_pid);
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace runrig::detail

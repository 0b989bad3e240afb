#include "text/regex.h"
#include "base/error.h"
namespace headrace {
struct Regex::Program { std::string p; };
Regex::Regex(std::string_view) { throw Error(ErrorKind::kUnsupported, "regex"); }
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
bool Regex::find(std::string_view, size_t, size_t*, size_t*) const { return false; }
const std::string& Regex::pattern() const { return program_->p; }
}

using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;

namespace Sagas.AspNetCore;

/// <summary>Reads bodies: bounded, of the right media type, and exactly one JSON value in UTF-8, at most 64 deep.</summary>
internal static class Body
{
    /// <summary>The most that one input may have.</summary>
    public const int Limit = 256 * 1024;

    /// <summary>The most that a definition, or an inline start with one, may have.</summary>
    public const int DefinitionLimit = 1024 * 1024;

    /// <summary>The most that a batch may have.</summary>
    public const int BatchLimit = 16 * 1024 * 1024;

    /// <summary>How deep an input may nest.</summary>
    public const int MaxDepth = 64;

    /// <summary>The body as a payload.</summary>
    public static async Task<Payload> PayloadAsync(HttpContext http, int limit = Limit, int depth = MaxDepth)
    {
        // No body at all is missing JSON rather than another media type.
        if (HasBody(http)) ExpectJson(http.Request);
        var bytes = await BytesAsync(http, limit, "The body");
        if (FaultOf(bytes.Span, depth) is { } fault) throw fault.Thrown();
        return new Payload(OnOneLine(bytes));
    }

    /// <summary>The body as a JSON object, to be read field by field; an empty one when there is no body.</summary>
    public static async Task<JsonDocument> ObjectAsync(HttpContext http, string example, int limit = Limit, int depth = MaxDepth)
    {
        if (!HasBody(http)) return JsonDocument.Parse("{}");
        var payload = await PayloadAsync(http, limit, depth);
        var document = JsonDocument.Parse(payload.Utf8, new JsonDocumentOptions { MaxDepth = depth });
        if (document.RootElement.ValueKind == JsonValueKind.Object) return document;
        document.Dispose();
        throw Problem.BadBody("$", $"The body is no JSON object. Send {example}.").Thrown();
    }

    /// <summary>The whole body, or a problem when it is over the limit: at once when its length says so.</summary>
    public static async Task<ReadOnlyMemory<byte>> BytesAsync(HttpContext http, int limit, string what)
    {
        var declared = http.Request.ContentLength;
        if (declared > limit) throw Problem.TooLarge(what, limit).Thrown();
        // What is declared is not yet sent: a large buffer grows with what arrives.
        var buffer = new byte[(int)Math.Min(declared ?? 4096, Limit) + 1];
        var count = 0;
        while (true)
        {
            var read = await http.Request.Body.ReadAsync(buffer.AsMemory(count), http.RequestAborted);
            if (read == 0) break;
            count += read;
            if (count > limit) throw Problem.TooLarge(what, limit).Thrown();
            if (count == buffer.Length) Array.Resize(ref buffer, Math.Min(buffer.Length * 2, limit + 1));
        }
        var start = buffer.AsSpan(0, count).StartsWith("\uFEFF"u8) ? 3 : 0;
        // A payload lives as long as its saga: keep no more than there is.
        return buffer.Length - count > 16 ? buffer.AsSpan(start, count - start).ToArray() : buffer.AsMemory(start, count - start);
    }

    /// <summary>Refuses a body that does not say it is JSON: browsers send all others across origins without asking.</summary>
    public static void ExpectJson(HttpRequest request)
    {
        if (MediaType(request) is { } type && IsJson(type)) return;
        throw Problem.WrongMediaType(request.ContentType, "application/json in UTF-8").Thrown();
    }

    /// <summary>Whether a batch comes as NDJSON; a problem when it is neither that nor JSON.</summary>
    public static bool IsNdjson(HttpRequest request)
    {
        var type = MediaType(request);
        if (type is not null && IsJson(type)) return false;
        if (type?.MediaType.Value?.ToLowerInvariant() is "application/x-ndjson" or "application/ndjson" or "application/jsonl") return true;
        throw Problem.WrongMediaType(request.ContentType, "application/json (an array) or application/x-ndjson (one item a line), in UTF-8").Thrown();
    }

    /// <summary>What is wrong with bytes that should be one JSON value; null: nothing.</summary>
    /// <param name="json">The bytes.</param>
    /// <param name="depth">How deep it may nest.</param>
    /// <param name="line">The number of its first line.</param>
    public static Problem? FaultOf(ReadOnlySpan<byte> json, int depth = MaxDepth, int line = 1)
    {
        if (!Utf8.IsValid(json)) return Problem.MalformedJson("$", line, "it is not UTF-8.");
        if (json.IsEmpty) return Problem.MalformedJson("$", line, "it is empty.");
        var strict = new JsonReaderOptions { MaxDepth = depth };
        try
        {
            var reader = new Utf8JsonReader(json, strict);
            while (reader.Read())
                // Half a surrogate pair passes as a token, but no later reader could make text of it.
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName && reader.ValueIsEscaped) reader.GetString();
            return null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return Locate(json, strict, line);
        }
    }

    /// <summary>The same JSON without line breaks and spaces between its tokens, so that it fits on one line of NDJSON or an event stream. The tokens stay as they are.</summary>
    public static ReadOnlyMemory<byte> OnOneLine(ReadOnlyMemory<byte> json)
    {
        if (json.Span.IndexOfAny("\n\r\t"u8) < 0 && (json.IsEmpty || (json.Span[0] != ' ' && json.Span[^1] != ' '))) return json;
        var shorter = new byte[json.Length];
        var (count, inText, escaped) = (0, false, false);
        foreach (var b in json.Span)
        {
            if (!inText && b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t') continue;
            shorter[count++] = b;
            if (escaped) escaped = false;
            else if (b == '\\') escaped = true;
            else if (b == '"') inText = !inText;
        }
        return shorter.AsSpan(0, count).ToArray();
    }

    private static MediaTypeHeaderValue? MediaType(HttpRequest request)
    {
        if (request.Headers.ContentEncoding.Count > 0 && !request.Headers.ContentEncoding.ToString().Equals("identity", StringComparison.OrdinalIgnoreCase))
            throw Problem.WrongMediaType($"{request.ContentType} encoded as {request.Headers.ContentEncoding}", "application/json without Content-Encoding").Thrown();
        if (!MediaTypeHeaderValue.TryParse(request.ContentType, out var type)) return null;
        return type.Charset.HasValue && !type.Charset.Value!.Trim('"').Equals("utf-8", StringComparison.OrdinalIgnoreCase) ? null : type;
    }

    private static bool HasBody(HttpContext http) => http.Features.Get<IHttpRequestBodyDetectionFeature>() is not { CanHaveBody: false };

    private static bool IsJson(MediaTypeHeaderValue type) =>
        type.MediaType.Equals("application/json", StringComparison.OrdinalIgnoreCase) || type.Suffix.Equals("json", StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads faulty JSON a second time, keeping the path, so that the common case need not.</summary>
    private static Problem Locate(ReadOnlySpan<byte> json, JsonReaderOptions strict, int firstLine)
    {
        var reader = new Utf8JsonReader(json, strict);
        var path = new PathTracker();
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType == JsonTokenType.String && reader.ValueIsEscaped) reader.GetString();
                path.On(ref reader);
            }
        }
        catch (JsonException e)
        {
            var end = e.Message.IndexOf(" LineNumber:", StringComparison.Ordinal);
            return Problem.MalformedJson(path.ToString(), (e.LineNumber ?? 0) + firstLine, end < 0 ? e.Message : e.Message[..end]);
        }
        catch (InvalidOperationException)
        {
            var line = json[..(int)reader.TokenStartIndex].Count((byte)'\n') + firstLine;
            return Problem.MalformedJson(path.ToString(), line, "a text has half a surrogate pair (\\ud800 to \\udfff), which is no character.");
        }
        throw new InvalidOperationException("Faulty JSON read well the second time.");
    }

    /// <summary>Where a reader is, as <c>$.lines[2].sku</c>.</summary>
    private sealed class PathTracker
    {
        // One frame for each open object or array: the property being read, or the index of the element.
        private readonly List<(string? Name, int Index)> _frames = [];

        public void On(ref Utf8JsonReader json)
        {
            switch (json.TokenType)
            {
                case JsonTokenType.PropertyName:
                    _frames[^1] = (json.GetString(), 0);
                    break;
                case JsonTokenType.StartObject:
                    _frames.Add((null, -1));
                    break;
                case JsonTokenType.StartArray:
                    _frames.Add((null, 0));
                    break;
                case JsonTokenType.EndObject or JsonTokenType.EndArray:
                    _frames.RemoveAt(_frames.Count - 1);
                    Done();
                    break;
                default:
                    Done();
                    break;
            }
        }

        public override string ToString()
        {
            var text = new StringBuilder("$");
            foreach (var (name, index) in _frames)
            {
                if (name is null && index >= 0) text.Append('[').Append(index).Append(']');
                else if (name is not null && name.Length > 0 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')) text.Append('.').Append(name);
                else if (name is not null) text.Append("['").Append(Problem.Short(name)).Append("']");
            }
            return text.ToString();
        }

        private void Done()
        {
            if (_frames.Count == 0) return;
            var (name, index) = _frames[^1];
            _frames[^1] = name is null && index >= 0 ? (null, index + 1) : (null, -1);
        }
    }
}

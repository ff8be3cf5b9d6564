using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Sagas;

/// <summary>A JSON template compiled once: what it says itself is kept as bytes, what it points to is copied as it stands (numbers keep their spelling).</summary>
internal abstract class Mapping
{
    private static readonly JsonWriterOptions Relaxed = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };
    private static readonly JsonDocumentOptions Deep = new() { MaxDepth = 2 * Payload.MaxDepth };

    /// <summary>Compiles a template.</summary>
    /// <param name="template">Any JSON; its texts must be whole Unicode.</param>
    /// <param name="at">Its JSON path in the definition.</param>
    /// <param name="step">The index of the step of that name; says its own fault at the given path and answers anything when it may not be read.</param>
    /// <param name="fault">Takes a fault: path, message.</param>
    public static Mapping Compile(JsonElement template, string at, Func<string, string, int> step, Action<string, string> fault)
    {
        switch (template.ValueKind)
        {
            case JsonValueKind.Object:
                var members = template.EnumerateObject()
                    .Select(m => (m.Name, Compile(m.Value, DefinitionReader.Member(at, m.Name), step, fault))).ToArray();
                return Settle(new Members(members), members.All(m => m.Item2 is Fixed));
            case JsonValueKind.Array:
                var items = template.EnumerateArray().Select((item, i) => Compile(item, $"{at}[{i}]", step, fault)).ToArray();
                return Settle(new Items(items), items.All(item => item is Fixed));
            case JsonValueKind.String:
                return CompileText(template.GetString()!, at, step, fault);
            default:
                return new Fixed(JsonMarshal.GetRawUtf8Value(template).ToArray());
        }
    }

    /// <summary>The JSON that the template makes of a saga's data. Throws <see cref="JsonException"/> when it nests too deep.</summary>
    public Payload Make(SagaData data)
    {
        if (this is Fixed whole) return whole.Json;
        using var sources = new Sources(data);
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes, Relaxed)) Write(json, sources);
        return Payload.IsDeeper(bytes.WrittenSpan, Payload.MaxDepth)
            ? throw new JsonException($"What the mapping makes nests deeper than {Payload.MaxDepth} levels.")
            : new Payload(bytes.WrittenMemory);
    }

    protected abstract void Write(Utf8JsonWriter json, Sources sources);

    private static Mapping Settle(Mapping made, bool isFixed)
    {
        if (!isFixed) return made;
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes, Relaxed)) made.Write(json, null!);
        return new Fixed(bytes.WrittenSpan.ToArray());
    }

    private static Mapping CompileText(string text, string at, Func<string, string, int> step, Action<string, string> fault)
    {
        if (text.StartsWith("$.", StringComparison.Ordinal)) return Pointer.Parse(text, at, step, fault);
        var parts = new List<(string? Text, Pointer? Path)>();
        var plain = new StringBuilder();
        for (var i = 0; i < text.Length; i++)
        {
            if (text.AsSpan(i).StartsWith("$$", StringComparison.Ordinal))
            {
                plain.Append('$');
                i++;
            }
            else if (text.AsSpan(i).StartsWith("{$.", StringComparison.Ordinal))
            {
                var end = text.IndexOf('}', i);
                if (end < 0)
                {
                    fault(at, $"'{text}' opens '{{$.' and does not close it. Write '{{$.path}}', or '{{$$.' for the text itself.");
                    return Fixed.Null;
                }
                parts.Add((plain.ToString(), Pointer.Parse(text[(i + 1)..end], at, step, fault)));
                plain.Clear();
                i = end;
            }
            else plain.Append(text[i]);
        }
        parts.Add((plain.ToString(), null));
        return Settle(new Words([.. parts]), parts.Count == 1);
    }

    /// <summary>What paths start at, each parsed once a making.</summary>
    protected sealed class Sources(SagaData data) : IDisposable
    {
        private readonly Dictionary<int, JsonDocument> _open = [];

        public JsonElement this[int step]
        {
            get
            {
                if (!_open.TryGetValue(step, out var document))
                    _open[step] = document = JsonDocument.Parse((step < 0 ? data.Input : data.ResultOf(step) ?? Payload.Null).Utf8, Deep);
                return document.RootElement;
            }
        }

        public void Dispose()
        {
            foreach (var document in _open.Values) document.Dispose();
        }
    }

    private sealed class Fixed(byte[] utf8) : Mapping
    {
        public static readonly Fixed Null = new("null"u8.ToArray());

        public Payload Json { get; } = new(utf8);

        protected override void Write(Utf8JsonWriter json, Sources sources) => json.WriteRawValue(utf8, skipInputValidation: true);
    }

    private sealed class Members((string Name, Mapping Value)[] members) : Mapping
    {
        protected override void Write(Utf8JsonWriter json, Sources sources)
        {
            json.WriteStartObject();
            foreach (var (name, value) in members)
            {
                json.WritePropertyName(name);
                value.Write(json, sources);
            }
            json.WriteEndObject();
        }
    }

    private sealed class Items(Mapping[] items) : Mapping
    {
        protected override void Write(Utf8JsonWriter json, Sources sources)
        {
            json.WriteStartArray();
            foreach (var item in items) item.Write(json, sources);
            json.WriteEndArray();
        }
    }

    private sealed class Words((string? Text, Pointer? Path)[] parts) : Mapping
    {
        protected override void Write(Utf8JsonWriter json, Sources sources)
        {
            var text = new StringBuilder();
            foreach (var (plain, path) in parts)
            {
                text.Append(plain);
                if (path?.Find(sources) is not { } found) continue;
                if (found.ValueKind == JsonValueKind.String) text.Append(found.GetString());
                else if (found.ValueKind != JsonValueKind.Null) text.Append(found.GetRawText());
            }
            json.WriteStringValue(text.ToString());
        }
    }

    /// <summary><c>$.input.lines[0].sku</c>: a source (-1: the input, else a step's result) and the way from there.</summary>
    private sealed class Pointer(int source, (string? Name, int Index)[] way) : Mapping
    {
        public static Pointer Parse(string text, string at, Func<string, string, int> step, Action<string, string> fault)
        {
            if (Split(text) is not { } way)
            {
                fault(at, $"'{text}' is no path. Write names after dots and indices in brackets, as in '$.input.lines[0].sku', or '$$' for a '$' itself.");
                return new Pointer(-1, []);
            }
            if (way[0].Name == "input") return new Pointer(-1, way[1..]);
            if (way is [("steps", _), (string name, _), ("result", _), ..]) return new Pointer(step(name, at), way[3..]);
            fault(at, $"'{text}' starts at nothing that is known. Start a path with '$.input' or '$.steps.NAME.result'.");
            return new Pointer(-1, []);
        }

        public JsonElement? Find(Sources sources)
        {
            var here = sources[source];
            foreach (var (name, index) in way)
            {
                if (name is not null)
                {
                    if (here.ValueKind != JsonValueKind.Object || !here.TryGetProperty(name, out here)) return null;
                }
                else
                {
                    if (here.ValueKind != JsonValueKind.Array || index >= here.GetArrayLength()) return null;
                    here = here[index];
                }
            }
            return here;
        }

        protected override void Write(Utf8JsonWriter json, Sources sources)
        {
            if (Find(sources) is { } found) json.WriteRawValue(JsonMarshal.GetRawUtf8Value(found), skipInputValidation: true);
            else json.WriteNullValue();
        }

        private static (string? Name, int Index)[]? Split(string text)
        {
            var way = new List<(string?, int)>();
            var i = 1;
            while (i < text.Length)
            {
                var start = i + 1;
                if (text[i] == '.')
                {
                    for (i = start; i < text.Length && !IsPunctuation(text[i]);) i++;
                    if (i == start) return null;
                    way.Add((text[start..i], 0));
                }
                else
                {
                    var end = text[i] == '[' && way.Count > 0 ? text.IndexOf(']', i) : -1;
                    if (end < 0 || !text.AsSpan(start, end - start).ToString().All(char.IsAsciiDigit) || !int.TryParse(text.AsSpan(start, end - start), out var index)) return null;
                    way.Add((null, index));
                    i = end + 1;
                }
            }
            return way.Count == 0 ? null : [.. way];
        }

        private static bool IsPunctuation(char c) => c is '.' or '[' or ']' or '{' or '}' or '$' or '"' or '\'' || char.IsWhiteSpace(c);
    }
}

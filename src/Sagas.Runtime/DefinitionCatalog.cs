using System.Buffers;
using System.Collections.Concurrent;
using System.Text.Json;

namespace Sagas.Runtime;

/// <summary>
/// The definitions a node runs, by name and version: those in C# and in files from the start, those that the store keeps once it is open, and
/// those put over REST as they come.
/// </summary>
internal sealed class DefinitionCatalog
{
    /// <summary>The most bytes that a definition in JSON may have.</summary>
    public const int MaxJson = 1 << 20;

    private readonly ConcurrentDictionary<(string Name, int Version), SagaDefinition> _all = new();
    private readonly ConcurrentDictionary<string, SagaDefinition> _newest = new();
    private readonly Dictionary<(string Name, int Version), string> _files = [];
    private readonly int _stuckAfter;
    private readonly bool _hasBus;

    /// <summary>Builds all definitions in C# and reads all files. Throws <see cref="DefinitionException"/> with every fault of every one.</summary>
    /// <param name="sagas">The definitions in C#.</param>
    /// <param name="routes">Who carries out which command.</param>
    /// <param name="stuckAfter"><see cref="SagasOptions.StuckAfter"/>.</param>
    /// <param name="paths">Files in JSON, and folders of such.</param>
    /// <param name="hasBus">Whether this node reaches participants by a bus.</param>
    /// <param name="made">Definitions that are made already.</param>
    public DefinitionCatalog(IEnumerable<Saga> sagas, IEnumerable<CommandRoute> routes, int stuckAfter, IEnumerable<string>? paths = null, bool hasBus = true,
        IEnumerable<SagaDefinition>? made = null)
    {
        (_stuckAfter, _hasBus) = (stuckAfter, hasBus);
        var known = routes.ToArray();
        var faults = new List<string>();
        foreach (var saga in sagas)
        {
            try
            {
                Add(SagaDefinition.Of(saga, known));
            }
            catch (DefinitionException e)
            {
                faults.AddRange(e.Faults);
            }
        }
        foreach (var definition in made ?? []) Add(definition);
        foreach (var file in (paths ?? []).SelectMany(path => FilesOf(path, faults)).Distinct(StringComparer.Ordinal)) Read(file, faults);
        if (faults.Count > 0) throw new DefinitionException(faults);

        void Add(SagaDefinition definition)
        {
            faults.AddRange(Unreachable(definition).Select(fault => fault.Message));
            if (TryAdd(definition) is not null)
                faults.Add($"{definition.Name}: version {definition.Version} is defined twice with different graphs. Raise the version of the newer one.");
        }
    }

    public IReadOnlyCollection<SagaDefinition> All => [.. _all.Values.OrderBy(d => d.Name, StringComparer.Ordinal).ThenBy(d => d.Version)];

    /// <summary>A stored saga names no steps: where the named step stands is its definition's knowledge.</summary>
    public SagaFilter Placed(SagaFilter filter) => filter.Step is not { } name ? filter : filter with
    {
        StepPlaces = [.. from saga in All let step = saga.Find(name) where step is not null select new StepPlace(saga.Name, saga.Version, step.Index)],
    };

    /// <summary>What came from files, to be kept in the store: a saga goes on when its file is gone.</summary>
    public IEnumerable<SagaDefinition> FromFiles => _files.Keys.Select(key => _all[key]).Where(definition => definition.Source == DefinitionSource.File);

    public SagaDefinition? Find(string name, int? version) =>
        version is { } one ? _all.GetValueOrDefault((name, one)) : _newest.GetValueOrDefault(name);

    /// <summary>The definition that a saga runs; null: this node does not have it.</summary>
    public SagaDefinition? Of(SagaState saga)
    {
        if (saga.Inline is not { } inline) return Find(saga.Definition, saga.DefinitionVersion);
        if (inline.Definition is { } definition) definition.StuckAfter = _stuckAfter;
        return inline.Definition;
    }

    /// <summary>A fault for each step that this node cannot reach, for want of a bus.</summary>
    public IEnumerable<(StepDefinition Step, string Message)> Unreachable(SagaDefinition definition) => _hasBus ? [] :
        from step in definition.Steps
        let bus = new[] { step.Forward, step.Confirm, step.Undo }.OfType<BusEndpoint>().FirstOrDefault()
        where bus is not null
        select (step, $"Step '{step.Name}' of '{definition.Name}' goes to the bus (queue sagas.{bus.Participant}), and this node has none. Give it URLs, or run it where a bus is chosen: AddSagas(s => s.UseInMemoryBus()).");

    /// <summary>Adds a definition, unless one of its name and version is there, which stays; gives that back when its graph is another.</summary>
    public SagaDefinition? TryAdd(SagaDefinition definition)
    {
        definition.StuckAfter = _stuckAfter;
        definition.LoopbackOnly = definition.Source == DefinitionSource.Rest;
        var kept = _all.GetOrAdd((definition.Name, definition.Version), definition);
        if (!IsSame(kept, definition)) return kept;
        _newest.AddOrUpdate(definition.Name, kept, (_, now) => now.Version >= kept.Version ? now : kept);
        return null;
    }

    /// <summary>Takes in what the store keeps. What is in C# or in a file already stays as it is; gives the faults of those whose graph is another.</summary>
    /// <param name="stored">All that the store keeps.</param>
    /// <param name="unread">Told of each that this program cannot read; the others are taken in.</param>
    public IReadOnlyList<string> Load(IEnumerable<StoredDefinition> stored, Action<StoredDefinition, DefinitionJsonException> unread)
    {
        var faults = new List<string>();
        foreach (var one in stored)
        {
            if (Find(one.Name, one.Version) is { Json: not null } known && known.Fingerprint == one.Fingerprint) continue;
            try
            {
                var definition = DefinitionJson.Parse(one.Json.Utf8);
                definition.Source = one.Source;
                if (TryAdd(definition) is { } other) faults.Add(Clash(other, one.Source));
            }
            catch (DefinitionJsonException e)
            {
                unread(one, e);
            }
        }
        return faults;
    }

    /// <summary>What to do about a definition in C# or in a file whose name and version the store keeps for another graph.</summary>
    public string Clash(SagaDefinition here, DefinitionSource stored)
    {
        var where = _files.GetValueOrDefault((here.Name, here.Version)) is { } file ? $"file {file}" : "C#";
        var origin = stored == DefinitionSource.Rest ? "was put over REST" : "came from a file";
        return $"{here.Name}: version {here.Version} in {where} differs from the one in the store, which {origin}; sagas may have begun under it. "
            + "Raise the version of the newer one: a saga keeps the version it started with.";
    }

    /// <summary>The same text up to its spelling or, when one is in C# and has no text, the same graph.</summary>
    private static bool IsSame(SagaDefinition a, SagaDefinition b) =>
        a.Fingerprint == b.Fingerprint || (a.Json is null != b.Json is null && GraphOf(a).AsSpan().SequenceEqual(GraphOf(b)));

    private static byte[] GraphOf(SagaDefinition definition)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes)) DefinitionJson.WriteGraph(json, definition);
        return bytes.WrittenSpan.ToArray();
    }

    private static IEnumerable<string> FilesOf(string path, List<string> faults)
    {
        if (File.Exists(path)) return [Path.GetFullPath(path)];
        if (Directory.Exists(path)) return Directory.GetFiles(Path.GetFullPath(path), "*.json").Order(StringComparer.Ordinal);
        faults.Add($"{path}: there is no such file or folder. Sagas:Definitions names files in JSON, or folders of such; relative ones start at {Environment.CurrentDirectory}.");
        return [];
    }

    private void Read(string file, List<string> faults)
    {
        try
        {
            var bytes = File.ReadAllBytes(file);
            if (bytes.Length > MaxJson)
            {
                faults.Add($"{file}: it has {bytes.Length} bytes; a definition may have {MaxJson}. Split the saga.");
                return;
            }
            var definition = DefinitionJson.Parse(bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes.AsMemory(3) : bytes);
            definition.Source = DefinitionSource.File;
            if (TryAdd(definition) is { } other)
                faults.Add($"{file}: version {definition.Version} of '{definition.Name}' is defined in {_files.GetValueOrDefault((other.Name, other.Version), "C#")} with another graph. Raise the version of the newer one.");
            else if (Unreachable(definition).ToArray() is { Length: > 0 } unreachable) faults.AddRange(unreachable.Select(fault => $"{file}: {fault.Message}"));
            else _files.TryAdd((definition.Name, definition.Version), file);
        }
        catch (DefinitionJsonException e)
        {
            faults.AddRange(e.Faults.Select(fault => $"{file}: {fault.Path}: {fault.Message}"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            faults.Add($"{file}: it cannot be read: {e.Message} Name a file that this program may read in Sagas:Definitions.");
        }
    }
}

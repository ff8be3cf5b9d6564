using System.Collections.Concurrent;

namespace Sagas.Runtime;

/// <summary>The definitions a node runs, by name and version.</summary>
internal sealed class DefinitionCatalog
{
    private readonly ConcurrentDictionary<(string Name, int Version), SagaDefinition> _all = new();
    private readonly ConcurrentDictionary<string, SagaDefinition> _newest = new();
    private readonly bool _hasBus;

    /// <summary>Builds all definitions. Throws <see cref="DefinitionException"/> with every fault of every one.</summary>
    public DefinitionCatalog(IEnumerable<Saga> sagas, IEnumerable<CommandRoute> routes, int stuckAfter, bool hasBus = true, IEnumerable<SagaDefinition>? made = null)
    {
        _hasBus = hasBus;
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
        if (faults.Count > 0) throw new DefinitionException(faults);

        void Add(SagaDefinition definition)
        {
            definition.StuckAfter = stuckAfter;
            faults.AddRange(Unreachable(definition));
            if (!TryAdd(definition))
                faults.Add($"{definition.Name}: version {definition.Version} is defined twice with different graphs. Raise the version of the newer one.");
        }
    }

    public IReadOnlyCollection<SagaDefinition> All => [.. _all.Values.OrderBy(d => d.Name, StringComparer.Ordinal).ThenBy(d => d.Version)];

    public SagaDefinition? Find(string name, int? version) =>
        version is { } one ? _all.GetValueOrDefault((name, one)) : _newest.GetValueOrDefault(name);

    /// <summary>A fault for each step that this node cannot reach, for want of a bus.</summary>
    public IEnumerable<string> Unreachable(SagaDefinition definition) => _hasBus ? [] : definition.Steps
        .Where(step => step.Forward is BusEndpoint || step.Confirm is BusEndpoint || step.Undo is BusEndpoint)
        .Select(step => $"Step '{step.Name}' of '{definition.Name}' goes to the bus ({Queue(step)}), and this node has none. Give it URLs, or choose a bus: AddSagas(s => s.UseInMemoryBus()).");

    private static string Queue(StepDefinition step) => "sagas." + new[] { step.Forward, step.Confirm, step.Undo }.OfType<BusEndpoint>().First().Participant;

    /// <summary>Adds a definition; false: its name and version are taken by another graph.</summary>
    public bool TryAdd(SagaDefinition definition)
    {
        if (_all.GetOrAdd((definition.Name, definition.Version), definition).Fingerprint != definition.Fingerprint) return false;
        _newest.AddOrUpdate(definition.Name, definition, (_, now) => now.Version >= definition.Version ? now : definition);
        return true;
    }
}

using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Sagas.Participants;

/// <summary>Adds participants to a host.</summary>
public static class ParticipantServices
{
    /// <summary>Adds participants: <c>services.AddSagaParticipants(p => p.Add&lt;Seats&gt;("seats").UseFileBarrier("data/barrier"))</c>. May be called more than once.</summary>
    /// <exception cref="ParticipantsException">Something does not fit, with all faults.</exception>
    public static IServiceCollection AddSagaParticipants(this IServiceCollection services, Action<ParticipantsBuilder> configure)
    {
        ArgumentNullException.ThrowIfNull(configure);
        var registry = (ParticipantRegistry?)services.LastOrDefault(s => s.ServiceType == typeof(ParticipantRegistry))?.ImplementationInstance;
        if (registry is null)
        {
            registry = new ParticipantRegistry(services);
            services.AddSingleton(registry);
            services.AddLogging();
            services.AddSingleton(provider => new ParticipantHost(registry, provider, provider.GetRequiredService<ILogger<ParticipantHost>>()));
            services.AddSingleton<IHostedService>(provider => provider.GetRequiredService<ParticipantHost>());
        }
        var builder = new ParticipantsBuilder(services, registry);
        configure(builder);
        if (builder.Faults.Count > 0) throw new ParticipantsException(builder.Faults);
        return services;
    }
}

/// <summary>Says which participants this process has, and how they remember.</summary>
public sealed partial class ParticipantsBuilder
{
    private readonly ParticipantRegistry _registry;

    internal ParticipantsBuilder(IServiceCollection services, ParticipantRegistry registry) => (Services, _registry) = (services, registry);

    /// <summary>The host's services, for extensions.</summary>
    public IServiceCollection Services { get; }

    internal List<string> Faults { get; } = [];

    /// <summary>
    /// Adds every command that <typeparamref name="T"/> handles to the participant. <typeparamref name="T"/> is a singleton unless it is registered otherwise; a
    /// scoped or transient one gets a scope for each item. Several types may share a participant.
    /// </summary>
    /// <param name="participant">The participant's name, 1 to 64 of <c>A-Z a-z 0-9 _ -</c>; its queue is <c>sagas.{participant}</c>.</param>
    public ParticipantsBuilder Add<T>(string participant) where T : class
    {
        var type = typeof(T);
        if (participant is null || !NamePattern().IsMatch(participant))
            Faults.Add($"'{participant}' cannot name a participant. Use 1 to 64 of A-Z a-z 0-9 _ -.");
        var found = CommandHandler.Of(type).ToArray();
        if (found.Length == 0)
            Faults.Add($"{type.Name} handles no command. Implement ITccHandler<TTry, TReservation> or IStepHandler<TCommand, TResult>.");
        if ((type.IsAbstract || type.IsInterface) && Services.All(s => s.ServiceType != type))
            Faults.Add($"{type.Name} cannot be made: it is abstract. Add the class that implements it, or register it before.");
        foreach (var (command, bind) in found)
        {
            var name = CommandName.Of(command);
            var known = _registry.Find(participant ?? "", name);
            if (known is not null)
                Faults.Add(known.Handler == type && known.Command == command
                    ? $"{type.Name} handles command '{name}' of participant '{participant}' twice. Implement one handler for it, and add it once."
                    : $"{known.Handler.Name} and {type.Name} both handle command '{name}' of participant '{participant}'. Keep one, or name the commands apart with [Command(\"...\")].");
            else
                _registry.Add(participant ?? "", name, new Registration(type, command, bind));
        }
        if (Faults.Count > 0) return this;
        Services.TryAddSingleton<T>();
        foreach (var (command, _) in found) Services.AddSingleton(new CommandRoute(CommandName.Of(command), participant!));
        return this;
    }

    /// <summary>How many items a participant handles at the same time. Default 64.</summary>
    public ParticipantsBuilder WithConcurrency(int items)
    {
        if (items is < 1 or > 100_000) Faults.Add($"A concurrency of {items} cannot be. Use 1 to 100000.");
        _registry.Concurrency = items;
        return this;
    }

    /// <summary>Keeps what was answered in memory: fast, and lost with the process. The default; for tests, and for handlers that look after their own repeats.</summary>
    public ParticipantsBuilder UseMemoryBarrier() => UseBarrier(provider => new MemoryBarrier(_registry.Retention, Time(provider)));

    /// <summary>Keeps what was answered in a store of your own.</summary>
    public ParticipantsBuilder UseBarrier(Func<IServiceProvider, IBarrierStore> store)
    {
        _registry.Barrier = store;
        return this;
    }

    /// <summary>
    /// How long settled rows are kept. Default 7 days. A message that is late by more than that is not recognised; nor is the compensation of a Do that was done
    /// so long ago, so let it be longer than your longest saga.
    /// </summary>
    public ParticipantsBuilder WithBarrierRetention(TimeSpan retention)
    {
        if (retention <= TimeSpan.Zero) Faults.Add($"A barrier retention of {retention} cannot be. Give a time longer than any message may be late.");
        _registry.Retention = retention;
        return this;
    }

    internal TimeSpan Retention => _registry.Retention;

    internal static TimeProvider Time(IServiceProvider services) => services.GetService<TimeProvider>() ?? TimeProvider.System;

    [GeneratedRegex(@"^[A-Za-z0-9_-]{1,64}\z")]
    private static partial Regex NamePattern();
}

/// <summary>Participants that cannot be registered so, with all faults.</summary>
public sealed class ParticipantsException(IReadOnlyList<string> faults)
    : Exception(faults.Count == 1 ? faults[0] : $"{faults.Count} faults in participants:{string.Concat(faults.Select(f => "\n  - " + f))}")
{
    /// <summary>Every fault, each a sentence that says what to do.</summary>
    public IReadOnlyList<string> Faults { get; } = faults;
}

internal sealed record Registration(Type Handler, Type Command, Func<IServiceProvider, bool, CommandHandler> Bind);

/// <summary>What the builders of this process said; read when the host is made.</summary>
internal sealed class ParticipantRegistry(IServiceCollection services)
{
    private readonly Dictionary<string, Dictionary<string, Registration>> _participants = new(StringComparer.Ordinal);

    public IEnumerable<string> Names => _participants.Keys;
    public int Concurrency { get; set; } = 64;
    public TimeSpan Retention { get; set; } = TimeSpan.FromDays(7);
    public Func<IServiceProvider, IBarrierStore>? Barrier { get; set; }

    public Registration? Find(string participant, string command) => _participants.GetValueOrDefault(participant)?.GetValueOrDefault(command);

    public void Add(string participant, string command, Registration registration)
    {
        if (!_participants.TryGetValue(participant, out var commands)) _participants[participant] = commands = new(StringComparer.Ordinal);
        commands[command] = registration;
    }

    public Dictionary<string, CommandHandler> Bind(string participant, IServiceProvider provider) =>
        _participants[participant].ToDictionary(c => c.Key, c => c.Value.Bind(provider, !IsSingleton(c.Value.Handler)), StringComparer.Ordinal);

    private bool IsSingleton(Type handler) => services.LastOrDefault(s => s.ServiceType == handler)?.Lifetime is null or ServiceLifetime.Singleton;
}

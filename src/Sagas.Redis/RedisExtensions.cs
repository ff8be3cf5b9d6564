using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.Redis;

/// <summary>Chooses Redis.</summary>
public static class RedisExtensions
{
    /// <summary>
    /// Keeps sagas in Redis, for one engine node or many. The host does not start when it cannot be used.
    /// </summary>
    /// <param name="sagas">The engine.</param>
    /// <param name="connection">The servers (<see cref="RedisOptions.Connection"/>); null: as <c>Sagas:Redis:Connection</c> says.</param>
    public static SagasBuilder UseRedis(this SagasBuilder sagas, string? connection = null) =>
        UseRedis(sagas, options => options.Connection = connection ?? options.Connection);

    /// <summary>Keeps sagas in Redis, for one engine node or many.</summary>
    public static SagasBuilder UseRedis(this SagasBuilder sagas, Action<RedisOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(sagas);
        sagas.Services.AddSingleton(new DurableSagas("Redis"));
        sagas.Services.AddOptions<RedisOptions>().BindConfiguration("Sagas:Redis").Configure(configure).ValidateOnStart();
        sagas.Services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<RedisOptions>, ValidRedisOptions>());
        sagas.Services.TryAddSingleton(TimeProvider.System);
        sagas.Services.Replace(ServiceDescriptor.Singleton<ISagaStore>(services => new RedisStore(services.GetRequiredService<IOptions<RedisOptions>>(),
            services.GetRequiredService<IOptions<SagasOptions>>(), services.GetRequiredService<TimeProvider>(), services.GetService<ILogger<RedisStore>>())));
        return sagas;
    }

    /// <summary>
    /// Keeps what participants answered in Redis: for a service of one process or many. Each answer is as durable as that Redis keeps it (appendfsync always).
    /// A service whose data lies in the same Redis takes <see cref="RedisEffects"/> into its handlers and has its effect and the note of it written in one piece.
    /// </summary>
    /// <param name="participants">The participants.</param>
    /// <param name="connection">The servers (<see cref="RedisOptions.Connection"/>); null: as <c>Sagas:Redis:Connection</c> says.</param>
    public static ParticipantsBuilder UseRedisBarrier(this ParticipantsBuilder participants, string? connection = null) =>
        UseRedisBarrier(participants, options => options.Connection = connection ?? options.Connection);

    /// <summary>Keeps what participants answered in Redis.</summary>
    public static ParticipantsBuilder UseRedisBarrier(this ParticipantsBuilder participants, Action<RedisOptions> configure)
    {
        const string Name = "barrier";
        ArgumentNullException.ThrowIfNull(participants);
        participants.Services.AddOptions<RedisOptions>(Name)
            // A participant's process need not have a configuration.
            .Configure<IServiceProvider>(static (options, services) => services.GetService<IConfiguration>()?.GetSection("Sagas:Redis").Bind(options))
            .Configure(configure).ValidateOnStart();
        participants.Services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<RedisOptions>, ValidRedisOptions>());
        participants.Services.TryAddSingleton(services => new RedisBarrier(services.GetRequiredService<IOptionsMonitor<RedisOptions>>().Get(Name), participants.Retention,
            ParticipantsBuilder.Time(services), services.GetRequiredService<ILogger<RedisBarrier>>()));
        participants.Services.TryAddSingleton(static services => new RedisEffects(services.GetRequiredService<RedisBarrier>()));
        return participants.UseBarrier(static services => services.GetRequiredService<RedisBarrier>());
    }
}

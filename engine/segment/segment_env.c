#include "engine/segment/segment_env.h"

#include <assert.h>

void segment_env_init(struct segment_env *env)
{
    pthread_mutex_init(&env->lock, NULL);
    pthread_cond_init(&env->none, NULL);
    env->alive = 0;
}

void segment_env_destroy(struct segment_env *env)
{
    assert(env->alive == 0);
    pthread_cond_destroy(&env->none);
    pthread_mutex_destroy(&env->lock);
}

void segment_env_wait(struct segment_env *env)
{
    pthread_mutex_lock(&env->lock);
    while (env->alive > 0) {
        pthread_cond_wait(&env->none, &env->lock);
    }
    pthread_mutex_unlock(&env->lock);
}

void segment_env_born(struct segment_env *env)
{
    pthread_mutex_lock(&env->lock);
    env->alive++;
    pthread_mutex_unlock(&env->lock);
}

void segment_env_gone(struct segment_env *env)
{
    pthread_mutex_lock(&env->lock);
    if (--env->alive == 0) {
        pthread_cond_broadcast(&env->none);
    }
    pthread_mutex_unlock(&env->lock);
}
